//! Every fixed bound of the server, with its reason. What an operator may change is a setting instead.

/// Longest request head in bytes, start line to blank line: a browser's own headers take about 1 KiB, two hundred
/// topics of sixty bytes take twelve more.
pub const HEAD_LEN_MAX: usize = 16 * 1024;

/// Most header fields in one request: browsers send about 20, proxies add a dozen.
pub const HEADERS_MAX: usize = 100;

/// Longest topic or event type in bytes: room for any path-like name, short enough that a table of names stays small.
pub const TOPIC_LEN_MAX: usize = 512;

/// Most topics in one subscription: what fits a request head of names, and a bound for the work of one join.
pub const TOPICS_MAX: usize = 1024;

/// Longest chunk-size line of a chunked request body in bytes: sixteen hex digits and room for an extension nobody
/// uses.
pub const CHUNK_LINE_LEN_MAX: usize = 256;

/// Deepest nesting of arrays in a reply of Redis: Pub/Sub needs 1, streams need 5; the decoder below us recurses.
pub const RESP_DEPTH_MAX: usize = 8;

/// Most elements in one reply of Redis, nested ones included: a thousand stream entries of thirty fields; decoded they
/// take 2 MiB at most.
pub const RESP_ELEMENTS_MAX: usize = 64 * 1024;

/// Longest line of a reply (a status, an error) in bytes: Redis cuts what it quotes at 128 bytes.
pub const RESP_LINE_LEN_MAX: usize = 4 * 1024;

/// Longest bulk string in bytes that is skipped when it is over its limit: Redis ends at 512 MiB unless it was told
/// otherwise; what announces more than eight times that is no Redis.
pub const RESP_SKIPPED_LEN_MAX: u64 = 4 << 30;

/// Room in a reply beside its one long bulk string, in bytes: headers and a channel name of any sane length.
pub const RESP_EXTRA_LEN_MAX: usize = 64 * 1024;

/// Most publishes that wait for their answer on one Redis link: at 100,000 a second these are 40 ms of silence. More
/// would only hide that Redis does not keep up.
pub const REDIS_PIPELINE_MAX: usize = 4 * 1024;

/// Most bytes of publishes that wait to be sent on one Redis link: one largest publish request fits, its JSON framed
/// anew. A single event may be larger, when nothing else waits.
pub const REDIS_UNSENT_LEN_MAX: usize = 32 * 1024 * 1024;

/// Longest request target in bytes: half a head, so that a client with too many topics is told that the address is too
/// long (414) and not that some header is (431).
pub const TARGET_LEN_MAX: usize = HEAD_LEN_MAX / 2;

/// Most empty lines before a request: RFC 9112 §2.2 asks to forgive one, which old clients add after a body.
pub const EMPTY_LINES_MAX: usize = 4;

/// Longest trailer section of a chunked request body in bytes: nobody reads it, a checksum or two must pass.
pub const TRAILER_LEN_MAX: usize = 4 * 1024;

/// Most events in one publish request: some 250 bytes each fill the default body limit, and the answer that lists all
/// their ids stays below 2 MiB.
pub const PUBLISH_EVENTS_MAX: usize = 65_536;

/// Most bytes of request bodies that one shard collects at a time: four of the largest by default. Whoever may publish
/// is trusted, but not with all memory.
pub const BODIES_LEN_MAX: usize = 64 * 1024 * 1024;

/// Letters on their way between two shards, and publish requests of one shard that await their answer. Beyond that a
/// publisher is asked to come again.
pub const MAIL_MAX: usize = 256;

/// Most bytes of an event cut by a slow client that are copied when the log takes the rest of it back. A client that is
/// further behind in one event is ended instead: memory per slow client stays small.
pub const CUT_LEN_MAX: usize = 4 * 1024;

/// Longest encoded field block of an HTTP/2 request in bytes, CONTINUATION frames joined: twice the longest list, so
/// that one a little too long can still be answered (431) before it costs the connection.
pub const H2_BLOCK_LEN_MAX: usize = 2 * HEAD_LEN_MAX;

/// Most CONTINUATION frames of one block: the longest block in pieces of 512 bytes.
pub const H2_BLOCK_FRAMES_MAX: u32 = 64;

/// HTTP/2 frames that get nobody anything (RST_STREAM, SETTINGS, PING, PRIORITY, empty DATA, tiny window updates, ...)
/// that one connection may send at once: a client that gives up a thousand streams at a time must pass, twice.
pub const H2_CONTROL_FRAMES_MAX: u16 = 2_000;

/// And so many more each tenth of a second.
pub const H2_CONTROL_FRAMES_PER_TICK: u32 = 20;

/// Longest name in a reflection request in bytes: full names of ours have some 60, and what is asked for is sent back.
pub const REFLECTION_NAME_LEN_MAX: usize = 1024;
