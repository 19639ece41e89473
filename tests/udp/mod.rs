//! The tracker over UDP (BEP 15): packets as any client may send them, and stock clients that announce so.

mod clients;
mod packets;
