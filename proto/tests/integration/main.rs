//! The crate as its users see it: golden bytes, truncations, round trips, and sessions on virtual time.

mod announce;
mod extension;
mod hostile;
mod metainfo;
mod mse;
mod mse_hostile;
mod mse_script;
mod scrape;
mod session;
mod session_dialled;
mod session_end;
mod session_extended;
mod session_fast;
mod session_floods;
mod session_laws;
mod session_opening;
mod session_showing;
mod support;
mod udp;
mod vectors;
mod wire;
