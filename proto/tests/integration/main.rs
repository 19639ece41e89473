//! The crate as its users see it: golden bytes, truncations, round trips, and sessions on virtual time.

mod announce;
mod hostile;
mod metainfo;
mod scrape;
mod session;
mod session_end;
mod session_laws;
mod session_opening;
mod support;
mod wire;
