//! RESP2 as far as a small Redis needs it: commands in, replies out.

/// Takes one command, an array of bulk strings, off the front of `bytes`. `None` when it is not all there.
pub fn take_command(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let (count, mut at) = number_at(bytes, 0, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, start) = number_at(bytes, at, b'$')?;
        let word = bytes.get(start..start + len)?.to_vec();
        bytes.get(start + len + 1)?;
        words.push(word);
        at = start + len + 2;
    }
    bytes.drain(..at);
    Some(words)
}

/// The number in the line at `at`, which begins with `mark`, and where the next line begins.
fn number_at(bytes: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let end = memchr::memchr(b'\n', line)?;
    assert_eq!(line[0], mark, "a client of Redis sends arrays of bulk strings");
    let digits = std::str::from_utf8(&line[1..end - 1]).expect("a length is a number");
    Some((digits.parse().expect("a length is a number"), at + end + 1))
}

/// Appends a bulk string.
pub fn bulk(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an array.
pub fn array(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{len}\r\n").as_bytes());
}

/// Appends an integer.
pub fn integer(number: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(":{number}\r\n").as_bytes());
}

#[test]
fn a_command_is_taken_when_it_is_whole() {
    let whole = b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n*1\r\n";
    for cut in 0..whole.len() - 4 {
        let mut bytes = whole[..cut].to_vec();
        assert_eq!(take_command(&mut bytes), None, "cut at {cut}");
    }
    let mut bytes = whole.to_vec();
    assert_eq!(take_command(&mut bytes), Some(vec![b"PING".to_vec(), vec![]]));
    assert_eq!(bytes, b"*1\r\n");
}
