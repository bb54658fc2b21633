//! What a test waits for, and what must not come instead.

use std::net::Shutdown;
use std::time::Duration;

use super::super::wait::Deadline;
use super::{Answer, BODY, Code, Event, Field, Peer, ROOT, Verdict, ping};

impl Peer {
    /// Waits for the server's settings, which must come first of all.
    pub fn expect_settings(&mut self) {
        let settings = self.wait("the server's preface", |event| match event {
            Event::Settings(settings) => Verdict::Take(settings.clone()),
            _ => Verdict::Wrong,
        });
        self.settings = settings;
    }

    /// Waits for the server to acknowledge settings of ours.
    pub fn expect_settings_ack(&mut self) -> &mut Self {
        self.wait("the acknowledgement of our settings", |event| match event {
            Event::SettingsAck => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self
    }

    /// Waits for a whole answer.
    pub fn expect_answer(&mut self, stream: u32) -> Answer {
        let (fields, mut ended) = self.expect_head(stream);
        let status = fields[0].1.parse().unwrap_or_else(|_| self.fail(&format!("no status: {fields:?}")));
        let mut body = Vec::new();
        while !ended {
            let (bytes, end) = self.expect_data(stream);
            body.extend(bytes);
            ended = end;
        }
        Answer { status, fields, body }
    }

    /// Asks for [`ROOT`] and checks the answer, by which the connection proves to work in both directions.
    pub fn serves(&mut self, stream: u32) -> &mut Self {
        self.request(stream, ROOT).expect_root(stream)
    }

    /// Checks the answer to [`ROOT`].
    pub fn expect_root(&mut self, stream: u32) -> &mut Self {
        let answer = self.expect_status(stream, 404);
        assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(BODY), "{answer:?}");
        self
    }

    /// Checks that the answer to [`ROOT`] comes, or else a RST_STREAM with this code.
    pub fn expect_root_or_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        let was_reset = self.wait(&format!("an answer or RST_STREAM {code:?} on {stream}"), |event| match event {
            Event::Headers { stream: of, .. } if *of == stream => Verdict::Take(None),
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(Some(())),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        if was_reset.is_none() {
            assert_eq!(self.expect_data(stream).0, BODY);
        }
        self
    }

    /// Waits for a whole answer with this status.
    pub fn expect_status(&mut self, stream: u32, status: u16) -> Answer {
        let answer = self.expect_answer(stream);
        // Another server may have its own mind about what is to be found, and a file instead of a publisher.
        let oracle = std::env::var_os("PLASMA_H2_ORACLE").is_some();
        assert!(answer.status == status || oracle && answer.status == 200, "no {status}: {answer:?}");
        answer
    }

    /// Waits for a refusal: an answer that says so (4xx or 5xx) or RST_STREAM with this code.
    pub fn expect_refusal(&mut self, stream: u32, code: Code) {
        self.wait(&format!("a refusal on stream {stream}"), |event| match event {
            Event::Headers { stream: of, fields, .. } if *of == stream => match fields[0].1.as_bytes()[0] {
                b'4' | b'5' => Verdict::Take(()),
                _ => Verdict::Wrong,
            },
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(()),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
    }

    /// Waits for an answer or a RST_STREAM, whichever.
    pub fn expect_something(&mut self, stream: u32) {
        self.wait(&format!("anything on stream {stream}"), |event| match event {
            Event::Headers { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
    }

    /// Waits for the head of an answer, and says whether it was the end of it.
    pub fn expect_head(&mut self, stream: u32) -> (Vec<Field>, bool) {
        self.wait(&format!("HEADERS on stream {stream}"), |event| match event {
            Event::Headers { stream: of, fields, end } if *of == stream => Verdict::Take((fields.clone(), *end)),
            Event::Data { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for one DATA frame, and says whether it was the last.
    pub fn expect_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        self.wait(&format!("DATA on stream {stream}"), |event| match event {
            Event::Data { stream: of, bytes, end } if *of == stream => Verdict::Take((bytes.clone(), *end)),
            Event::Headers { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for credit, and says how much.
    pub fn expect_window_update(&mut self, stream: u32) -> u32 {
        self.wait(&format!("WINDOW_UPDATE on stream {stream}"), |event| match event {
            Event::WindowUpdate { stream: of, increment } if *of == stream => Verdict::Take(*increment),
            Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for RST_STREAM with this code and nothing else on the stream, and checks that the connection goes on.
    pub fn expect_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        self.expect_reset_of(stream, &[code]);
        self
    }

    /// Waits for RST_STREAM with this code, whatever came on the stream before.
    pub fn wait_for_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        self.wait(&format!("RST_STREAM {code:?} on stream {stream}"), |event| match event {
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(()),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive()
    }

    /// Receives DATA on a stream until this many octets have come, and checks that no more of it comes.
    pub fn receive_until_window(&mut self, stream: u32, len: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < len {
            body.extend(self.expect_data(stream).0);
        }
        body.extend(self.settled_data(stream).0);
        if body.len() != len {
            self.fail(&format!("{len} octets were due on stream {stream}, {} came", body.len()));
        }
        body
    }

    /// [`Self::expect_reset`] where the RFC leaves a choice of codes.
    pub fn expect_reset_of(&mut self, stream: u32, codes: &[Code]) -> Code {
        let code = self.wait(&format!("RST_STREAM {codes:?} on stream {stream}"), |event| match event {
            Event::Reset { stream: of, code } if *of == stream && codes.contains(code) => Verdict::Take(*code),
            Event::Headers { stream: of, .. } | Event::Data { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
        code
    }

    /// Waits for GOAWAY with this code and for the end of the connection; returns the last stream that it names.
    pub fn expect_goaway(&mut self, code: Code) -> u32 {
        self.expect_goaway_of(&[code]).0
    }

    /// Waits for RST_STREAM and then for GOAWAY, both with this code.
    pub fn expect_reset_and_goaway(&mut self, stream: u32, code: Code) {
        self.wait(&format!("RST_STREAM {code:?} on stream {stream}"), |event| match event {
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(()),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_goaway(code);
    }

    /// [`Self::expect_goaway`] where the RFC leaves a choice of codes.
    pub fn expect_goaway_of(&mut self, codes: &[Code]) -> (u32, Code) {
        let found = self.read_goaway(codes);
        let _ = self.stream.shutdown(Shutdown::Write);
        self.expect_close();
        found
    }

    /// Waits for GOAWAY with one of these codes and leaves it to the server to end the connection.
    pub fn read_goaway(&mut self, codes: &[Code]) -> (u32, Code) {
        let highest = self.highest;
        self.wait(&format!("GOAWAY {codes:?} for at most stream {highest}"), |event| match event {
            Event::Goaway { last, code, .. } if codes.contains(code) && *last <= highest => {
                Verdict::Take((*last, *code))
            }
            Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for an error with one of these codes, of the stream or of the connection: for the few cases in which
    /// RFC 9113 leaves that open.
    pub fn expect_error_of(&mut self, stream: u32, codes: &[Code]) {
        let highest = self.highest;
        let of_stream = self.wait(&format!("RST_STREAM on {stream} or GOAWAY, {codes:?}"), |event| match event {
            Event::Reset { stream: of, code } if *of == stream && codes.contains(code) => Verdict::Take(true),
            Event::Goaway { last, code, .. } if codes.contains(code) && *last <= highest => Verdict::Take(false),
            Event::Headers { stream: of, .. } | Event::Data { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        if of_stream {
            self.expect_alive();
        } else {
            let _ = self.stream.shutdown(Shutdown::Write);
            self.expect_close();
        }
    }

    /// Waits for the end of the connection.
    pub fn expect_close(&mut self) {
        self.wait("the end of the connection", |event| match event {
            Event::Closed => Verdict::Take(()),
            Event::Goaway { .. } => Verdict::Wrong,
            _ => Verdict::Leave,
        });
    }

    /// [`Self::expect_goaway`] where a stream was used that is none.
    pub fn expect_goaway_below(&mut self, stream: u32, code: Code) {
        let last = self.expect_goaway(code);
        assert!(last < stream, "stream {stream} was no stream, and GOAWAY names {last}");
    }

    /// Waits for the end of the connection, with or without a word.
    pub fn expect_end(&mut self) {
        self.wait("the end of the connection", |event| match event {
            Event::Closed => Verdict::Take(()),
            _ => Verdict::Leave,
        });
    }

    /// Checks that everything that came was asked for, but for credit.
    pub fn expect_no_events(&self) {
        if let Some(event) = self.inbox.iter().find(|event| !matches!(event, Event::WindowUpdate { .. })) {
            self.fail(&format!("nobody asked for this: {}", event.told()));
        }
    }

    /// Waits for the answer to a PING.
    pub fn expect_pong(&mut self, opaque: [u8; 8]) -> &mut Self {
        self.wait(&format!("PING with ACK and {opaque:?}"), |event| match event {
            Event::Pong(echoed) if *echoed == opaque => Verdict::Take(()),
            Event::Pong(_) | Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self
    }

    /// Checks that the connection goes on, and that no stream has been reset that was not expected to be.
    pub fn expect_alive(&mut self) -> &mut Self {
        for _ in 0..2 {
            self.pings += 1;
            let opaque = (0xB0B0_0000_0000_0000 | self.pings).to_be_bytes();
            self.send(ping(opaque)).expect_pong(opaque);
        }
        self
    }

    /// Everything on a stream that came and was not asked for, once nothing more comes. Credit is left out.
    pub fn settled(&mut self, stream: u32) -> Vec<Event> {
        self.expect_alive();
        let is_it = |event: &Event| event.stream() == stream && !matches!(event, Event::WindowUpdate { .. });
        let found = self.inbox.iter().filter(|event| stream != 0 && is_it(event)).cloned().collect();
        self.inbox.retain(|event| !is_it(event) || stream == 0);
        found
    }

    /// All DATA of a stream that came and was not asked for, once nothing more comes, and whether it ended.
    pub fn settled_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        let (mut body, mut ended) = (Vec::new(), false);
        for event in self.settled(stream) {
            match event {
                Event::Data { bytes, end, .. } if !ended => {
                    body.extend(bytes);
                    ended = end;
                }
                other => self.fail(&format!("only DATA was due on stream {stream}, {} came", other.told())),
            }
        }
        (body, ended)
    }

    /// Checks that nothing comes on a stream.
    pub fn expect_nothing(&mut self, stream: u32) -> &mut Self {
        let came = self.settled(stream);
        if !came.is_empty() {
            self.fail(&format!("nothing was due on stream {stream}, this came: {came:?}"));
        }
        self
    }

    /// Whether the connection has ended or something has arrived that says it will; never waits long.
    pub fn is_over(&mut self) -> bool {
        let deadline = Deadline::after(Duration::from_millis(1));
        while !self.closed && self.try_receive(deadline) {}
        self.inbox.iter().any(|event| matches!(event, Event::Goaway { .. } | Event::Closed))
    }
}
