//! Every fixed bound of the server, with its reason. What an operator may change is a setting instead.

/// Longest request head in bytes, start line to blank line: a browser's own headers take about 1 KiB, two hundred topics
/// of sixty bytes take twelve more.
pub const HEAD_LEN_MAX: usize = 16 * 1024;

/// Most header fields in one request: browsers send about 20, proxies add a dozen.
pub const HEADERS_MAX: usize = 100;

/// Longest topic or event type in bytes: room for any path-like name, short enough that a table of names stays small.
pub const TOPIC_LEN_MAX: usize = 512;

/// Most topics in one subscription: what fits a request head of names, and a bound for the work of one join.
pub const TOPICS_MAX: usize = 1024;

/// Longest chunk-size line of a chunked request body in bytes: sixteen hex digits and room for an extension nobody uses.
pub const CHUNK_LINE_LEN_MAX: usize = 256;

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
