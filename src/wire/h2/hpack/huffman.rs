//! The Huffman code of RFC 7541, Appendix B: four bits at a time through a table of states.
//!
//! A state is an inner node of the code's tree: the bits read since the last whole symbol. The shortest code has five
//! bits, so a step completes one symbol at most.

use super::Malformed;

/// Lengths of the codes in bits, by symbol; the last one is EOS. The code is canonical (codes of a length are counted
/// up in the order of their symbols, shorter ones come first), so the lengths say it all.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

/// The symbol that must never appear.
const EOS: usize = 256;

/// The longest code.
const LENGTH_MAX: u8 = 30;

/// Inner nodes of a full binary tree with a leaf for each symbol.
const STATES: usize = LENGTHS.len() - 1;

/// The states 0 to 7 are so many ones after the last whole symbol: just these are padding (RFC 7541 §5.2).
const PADDING_LEN_MAX: u8 = 7;

/// What four bits do in a state.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    symbol: u8,
    /// Symbols completed: 0 or 1; [`FAILED`] when that is EOS.
    count: u8,
}

/// Count of a step that meets EOS.
const FAILED: u8 = 2;

static STEPS: [[Step; 16]; STATES] = steps();

/// Appends what `coded` says to `out`: at most 8/5 of its length.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut at = out.len();
    // One byte more: a step writes its symbol first and then says whether it counts.
    out.resize(at + coded.len() * 8 / 5 + 1, 0);
    let mut state = 0;
    for byte in coded {
        for bits in [byte >> 4, byte & 0x0f] {
            let step = STEPS[usize::from(state)][usize::from(bits)];
            if step.count == FAILED {
                return Err(Malformed::EndOfString);
            }
            out[at] = step.symbol;
            at += usize::from(step.count);
            state = step.next;
        }
    }
    out.truncate(at);
    if state <= PADDING_LEN_MAX { Ok(()) } else { Err(Malformed::Padding) }
}

/// The code of each symbol, in its lowest bits.
const fn codes() -> [u32; LENGTHS.len()] {
    let mut codes = [0; LENGTHS.len()];
    let (mut code, mut length) = (0, 1);
    while length <= LENGTH_MAX {
        code <<= 1;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] == length {
                codes[symbol] = code;
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    // A code that is neither ambiguous nor wasteful ends with ones only.
    assert!(code == 1 << LENGTH_MAX && codes[EOS] == code - 1);
    codes
}

/// A child in the tree: an inner node, or a leaf by its symbol.
#[derive(Clone, Copy)]
enum Child {
    None,
    Node(usize),
    Leaf(usize),
}

/// The tree, its nodes numbered as states. EOS goes first: its path is ones only, so node `n` is `n` ones.
const fn tree() -> [[Child; 2]; STATES] {
    let codes = codes();
    let mut tree = [[Child::None; 2]; STATES];
    let (mut node_count, mut turn) = (1, 0);
    while turn < LENGTHS.len() {
        let symbol = LENGTHS.len() - 1 - turn;
        let (mut node, mut left) = (0, LENGTHS[symbol] - 1);
        while left > 0 {
            let bit = (codes[symbol] >> left & 1) as usize;
            node = match tree[node][bit] {
                Child::Node(child) => child,
                Child::Leaf(_) => panic!("no code begins with another"),
                Child::None => {
                    tree[node][bit] = Child::Node(node_count);
                    node_count += 1;
                    node_count - 1
                }
            };
            left -= 1;
        }
        tree[node][(codes[symbol] & 1) as usize] = Child::Leaf(symbol);
        turn += 1;
    }
    assert!(node_count == STATES);
    tree
}

/// Walks every four bits from every node.
const fn steps() -> [[Step; 16]; STATES] {
    let tree = tree();
    let mut steps = [[Step { next: 0, symbol: 0, count: 0 }; 16]; STATES];
    let mut state = 0;
    while state < STATES {
        let mut bits = 0;
        while bits < 16 {
            steps[state][bits] = step(&tree, state, bits);
            bits += 1;
        }
        state += 1;
    }
    steps
}

const fn step(tree: &[[Child; 2]; STATES], state: usize, bits: usize) -> Step {
    let mut step = Step { next: 0, symbol: 0, count: 0 };
    let (mut node, mut left) = (state, 4);
    while left > 0 {
        left -= 1;
        node = match tree[node][bits >> left & 1] {
            Child::Node(child) => child,
            Child::Leaf(EOS) => return Step { next: 0, symbol: 0, count: FAILED },
            Child::Leaf(symbol) => {
                step.symbol = symbol as u8;
                step.count += 1;
                0
            }
            Child::None => panic!("every path ends in a symbol"),
        };
    }
    assert!(step.count <= 1);
    step.next = node as u8;
    step
}

/// The coding that the decoder undoes; nothing but tests writes it.
#[cfg(test)]
pub fn encode(plain: &[u8], out: &mut Vec<u8>) {
    const CODES: [u32; LENGTHS.len()] = codes();
    let (mut pending, mut pending_len) = (0u64, 0);
    for byte in plain {
        let symbol = usize::from(*byte);
        pending = pending << LENGTHS[symbol] | u64::from(CODES[symbol]);
        pending_len += u32::from(LENGTHS[symbol]);
        while pending_len >= 8 {
            pending_len -= 8;
            out.push((pending >> pending_len) as u8);
        }
    }
    if pending_len > 0 {
        out.push((pending << (8 - pending_len)) as u8 | 0xff >> pending_len);
    }
}
