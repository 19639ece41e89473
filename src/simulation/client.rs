//! What stock clients do, as far as a swarm's speed depends on it.

/// Which client hosts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// aria2 1.36.
    Aria2,
    /// libtorrent 2.0, and what is made of it.
    Libtorrent,
}

/// The habits of a client; times in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// How often it decides whom it uploads to.
    pub(super) round: f64,
    /// To how many it uploads for what they upload.
    pub(super) regular_slots: usize,
    /// To how many it uploads by chance; drawn anew every so many rounds.
    pub(super) optimistic_slots: usize,
    pub(super) optimistic_rounds: u32,
    /// Whether a free slot is given at once rather than at the next round.
    pub(super) fills_free_slots: bool,
    /// How far ahead it asks.
    pub(super) pipeline: f64,
    /// Whether a piece comes from one peer alone, until few are left.
    pub(super) keeps_pieces_apart: bool,
    /// With so few pieces to go, it asks several peers for the same.
    pub(super) endgame_pieces: u32,
    /// So many pieces it gives even to those it doesn't upload to (BEP 6, allowed fast).
    pub(super) fast_pieces: u32,
    pub(super) numwant: usize,
    pub(super) max_connections: usize,
    /// It announces no sooner than this, whatever it is told.
    pub(super) least_interval: f64,
}

impl Client {
    pub(super) const fn habits(self) -> Habits {
        match self {
            Self::Aria2 => Habits {
                round: 10.0,
                regular_slots: 3,
                optimistic_slots: 1,
                optimistic_rounds: 3,
                fills_free_slots: false,
                pipeline: 1.0,
                keeps_pieces_apart: true,
                endgame_pieces: 20,
                fast_pieces: 10,
                numwant: 50,
                max_connections: 55,
                least_interval: 0.0,
            },
            Self::Libtorrent => Habits {
                round: 15.0,
                regular_slots: 7,
                optimistic_slots: 1,
                optimistic_rounds: 2,
                fills_free_slots: true,
                pipeline: 3.0,
                keeps_pieces_apart: false,
                endgame_pieces: 0,
                fast_pieces: 5,
                numwant: 200,
                max_connections: 200,
                least_interval: 300.0,
            },
        }
    }
}

impl Habits {
    /// Those of an origin that shows pieces one by one and so need not choke anybody.
    pub(super) const fn of_an_origin(self) -> Self {
        Self { max_connections: usize::MAX, fast_pieces: 0, ..self }
    }
}
