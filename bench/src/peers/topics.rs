//! What the peers written with libraries share: a broadcast channel per topic, and how events get into it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast::{self, Receiver, Sender};

/// Events that a subscriber may be behind. The channel takes memory for all of them, per topic, from the beginning.
pub const CAPACITY: usize = 1024;

/// The topics that have, or had, subscribers.
pub struct Topics<T> {
    channels: RwLock<HashMap<String, Sender<T>>>,
}

impl<T> Default for Topics<T> {
    fn default() -> Self {
        Self { channels: RwLock::default() }
    }
}

impl<T: Clone> Topics<T> {
    /// What is published to this topic from now on.
    pub fn subscribe(&self, topic: &str) -> Receiver<T> {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        match channels.get(topic) {
            Some(channel) => channel.subscribe(),
            None => {
                let (channel, receiver) = broadcast::channel(CAPACITY);
                channels.insert(topic.to_owned(), channel);
                receiver
            }
        }
    }

    /// Sends to all subscribers of a topic, if there are any.
    pub fn publish(&self, topic: &str, event: T) {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(topic) {
            // Fails without subscribers only.
            let _ = channel.send(event);
        }
    }
}

/// One line of what is published: `{"meta":{"type":T},"data":…}`.
#[derive(Deserialize)]
pub struct Published<'l> {
    #[serde(borrow)]
    meta: Meta<'l>,
    /// JSON as it came.
    #[serde(borrow)]
    pub data: &'l RawValue,
}

#[derive(Deserialize)]
struct Meta<'l> {
    r#type: &'l str,
}

impl Published<'_> {
    /// Where it is to go.
    pub fn topic(&self) -> &str {
        self.meta.r#type
    }
}

/// The events of a body, each with its line.
pub fn events(body: &[u8]) -> serde_json::Result<Vec<(&[u8], Published<'_>)>> {
    let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok((line, serde_json::from_slice(line)?))).collect()
}
