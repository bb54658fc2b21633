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
