//! What both sides' handshakes have in common: they go from step to step as far as the bytes reach.
//!
//! Owns the bytes that wait and how it ended. Refuses to know the steps: each side's state takes its own.

use bytes::{Bytes, BytesMut};

use super::{
    MseProgress, digest::TorrentDigest, error::MseError, inbox::Inbox, offer::MseOffer, stream::MseStream,
};

/// One side's place in its handshake.
pub(super) trait State: Sized {
    /// Takes one step, if its bytes are there. What is to be sent is appended to `out`.
    fn step(self, offer: MseOffer, inbox: &mut Inbox, out: &mut BytesMut) -> Result<Next<Self>, MseError>;
}

/// What came of a step.
pub(super) enum Next<S> {
    /// It was taken.
    Step(S),
    /// Its bytes aren't there yet.
    Wait(S),
    /// Somebody has to find a torrent first.
    Ask(S, TorrentDigest),
    /// It was the last one.
    Done(MseStream, Bytes),
}

impl<S> Next<S> {
    /// The last step: the rest of what has come belongs to the stream.
    pub(super) fn done(mut stream: MseStream, mut received: BytesMut, inbox: &mut Inbox) -> Self {
        let mut rest = inbox.take_all();
        stream.open(&mut rest);
        received.unsplit(rest);
        Self::Done(stream, received.freeze())
    }
}

/// A handshake that is under way, or how it ended.
pub(super) struct Drive<S> {
    offer: MseOffer,
    state: Result<S, MseError>,
    inbox: Inbox,
}

impl<S: State> Drive<S> {
    pub(super) fn new(offer: MseOffer, start: S) -> Self {
        Self { offer, state: Ok(start), inbox: Inbox::default() }
    }

    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<MseProgress, MseError> {
        if self.state.is_ok() {
            self.inbox.extend(bytes);
        }
        self.go_on(out, Ok)
    }

    /// Goes on from what `decide` makes of the state, as far as the bytes reach.
    pub(super) fn go_on(
        &mut self,
        out: &mut BytesMut,
        decide: impl FnOnce(S) -> Result<S, MseError>,
    ) -> Result<MseProgress, MseError> {
        let state = std::mem::replace(&mut self.state, Err(MseError::OutOfTurn));
        let result = state.and_then(decide).and_then(|state| self.steps(state, out));
        if let Err(error) = &result {
            self.state = Err(*error);
        }
        result
    }

    fn steps(&mut self, mut state: S, out: &mut BytesMut) -> Result<MseProgress, MseError> {
        let (state, progress) = loop {
            match state.step(self.offer, &mut self.inbox, out)? {
                Next::Step(next) => state = next,
                Next::Wait(waiting) => break (waiting, MseProgress::More),
                Next::Ask(waiting, digest) => break (waiting, MseProgress::Torrent(digest)),
                Next::Done(stream, received) => return Ok(MseProgress::Done { stream, received }),
            }
        };
        self.inbox.check_bound()?;
        self.state = Ok(state);
        Ok(progress)
    }
}
