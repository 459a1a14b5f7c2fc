//! The TCS web socket.
