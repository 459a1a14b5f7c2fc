//! What engine and shim say to each other over the container's socket: a length (32 bits, little endian), then JSON.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::status::{ExecResult, ExecSpec, Exit};

/// The longest message; an exec's environment is the largest thing in one.
pub(crate) const MESSAGE_MAXIMUM_BYTES: usize = 1024 * 1024;

/// Engine to shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Chosen by the engine, given back in the reply.
    pub(crate) number: u64,
    pub(crate) command: Command,
}

/// What the engine asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Run the container's program.
    Start,
    /// Send a signal to its first process.
    Signal(i32),
    /// Run a command in it.
    Exec(ExecSpec),
}

/// Shim to engine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The first message on every connection, once the container is made: its state.
    Hello(Record),
    /// The container could not be made; the shim ends.
    Failed(String),
    /// The answer to a request.
    Reply { number: u64, result: Result<Reply, String> },
    /// The container has ended; the shim ends soon.
    Exited(Exit),
}

/// What a request led to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Started { pid: i32, started_at: base::Timestamp },
    Signalled,
    Executed(ExecResult),
}

/// The container's state as the shim keeps it on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Tells a state of before a reboot from one of now.
    pub(crate) boot_id: String,
    pub(crate) shim_pid: i32,
    /// The container's first process.
    pub(crate) pid: i32,
    pub(crate) created_at: base::Timestamp,
    pub(crate) started_at: Option<base::Timestamp>,
    pub(crate) exit: Option<Exit>,
}

/// A message with its length before it.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > MESSAGE_MAXIMUM_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Takes the first whole message off `buffer`. None: it is not all there yet.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*head) as usize;
    if length > MESSAGE_MAXIMUM_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
    }
    let Some(body) = buffer.get(4..4 + length) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_pieces() {
        let bytes = encode(&Request { number: 7, command: Command::Signal(15) }).unwrap();
        let mut buffer = Vec::new();
        for (index, byte) in bytes.iter().chain(&bytes).enumerate() {
            buffer.push(*byte);
            let message: Option<Request> = decode(&mut buffer).unwrap();
            assert_eq!(message.is_some(), (index + 1) % bytes.len() == 0);
        }
        assert!(buffer.is_empty());
        assert!(decode::<Request>(&mut u32::MAX.to_le_bytes().to_vec()).is_err());
        assert!(decode::<Request>(&mut vec![1, 0, 0, 0, b'x']).is_err());
    }
}
