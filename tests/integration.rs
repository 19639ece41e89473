//! The program as its users meet it: the built binary, real files, real sockets, and stock BitTorrent clients.
//!
//! `tests/run` installs what these tests need and runs them. Those that need an address for each client make network
//! namespaces, which takes root.

mod announce;
mod api;
mod architecture;
mod cli;
mod clients;
mod conversations;
mod dialects;
mod dialling;
mod encryption;
mod faults;
mod flooding;
mod hanging;
mod hostile;
mod ignoring;
mod in_flight;
mod killing;
mod leaving;
mod library;
mod magnets;
mod many_files;
mod marking;
mod names;
mod noticing;
mod pacing;
mod proxies;
mod racks;
mod recorder;
mod regression;
mod regression_load;
mod remembering;
mod serve;
mod settling;
mod slots;
mod slow_storage;
mod stress;
mod super_seeding;
mod support;
mod swarming;
mod swarms;
mod topology;
mod udp;
mod uploading;
mod waiting;
mod watching;
mod wire;
