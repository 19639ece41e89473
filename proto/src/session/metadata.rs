//! The info dictionary for those who come by a magnet link (BEP 9), and what else peers say by extended messages
//! (BEP 10, 21).
//!
//! Owns which parts wait to be sent and how often the whole may be had. Refuses to hold the dictionary's bytes, which
//! are the driver's to fill in, and to ask for any.

use std::{collections::VecDeque, ops::Range};

use super::{Seeding, Session, Transmit, Violation, greeting::EXTENDED_HANDSHAKE_ID, messages::Worth};
use crate::{
    extension::{ExtendedHandshake, METADATA_PIECE_LEN, MetadataMessage},
    message::Message,
};

/// The number under which we take `ut_metadata` messages.
pub(super) const UT_METADATA_ID: u8 = 1;

/// The most parts that wait to be sent to a peer: 1 MiB of them. Those beyond it are rejected.
pub const MAX_METADATA_QUEUED: usize = 64;

/// How many times over one connection may have the info dictionary. A part is asked for again when it took too long.
pub const MAX_METADATA_COPIES: u32 = 3;

/// What a peer has said and wants by extended messages.
#[derive(Debug, Default)]
pub(super) struct Extended {
    /// Whether its extended handshake has come.
    shaken: bool,
    /// The number under which it takes `ut_metadata`; 0 where it doesn't.
    ut_metadata: u8,
    /// Whether it asks for nothing.
    pub(super) upload_only: bool,
    /// The parts of the info dictionary that wait to be sent.
    queue: VecDeque<u32>,
    /// How many bytes of it were promised so far.
    promised: u64,
}

impl Extended {
    pub(super) fn owes_nothing(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next part of the info dictionary to go out.
    pub(super) fn pop(&mut self, seeding: &Seeding) -> Option<Transmit> {
        let piece = self.queue.pop_front()?;
        let range = part(piece, seeding.metadata_len)?;
        let message = MetadataMessage::Data { piece, total_size: seeding.metadata_len };
        let header = message.header(self.ut_metadata, range.end - range.start);
        Some(Transmit::Metadata { header, range })
    }

    fn take_handshake(&mut self, theirs: ExtendedHandshake<'_>) -> Worth {
        if let Some(upload_only) = theirs.upload_only {
            self.upload_only = upload_only;
        }
        if let Some(id) = theirs.ut_metadata {
            self.ut_metadata = id;
            if id == 0 {
                self.queue = VecDeque::new();
            }
        }
        if std::mem::replace(&mut self.shaken, true) { Worth::Nothing } else { Worth::Something }
    }

    /// Whether a part may be sent, and then it will be.
    fn promise(&mut self, piece: u32, metadata_len: u32) -> bool {
        let Some(range) = part(piece, metadata_len) else { return false };
        let promised = self.promised + u64::from(range.end - range.start);
        let limit = u64::from(metadata_len) * u64::from(MAX_METADATA_COPIES);
        let keeps = self.queue.len() < MAX_METADATA_QUEUED && promised <= limit;
        if keeps {
            self.promised = promised;
            self.queue.push_back(piece);
        }
        keeps
    }
}

/// Where in the info dictionary a part is; never empty.
fn part(piece: u32, metadata_len: u32) -> Option<Range<u32>> {
    let start = piece.checked_mul(METADATA_PIECE_LEN).filter(|start| *start < metadata_len)?;
    Some(start..start.saturating_add(METADATA_PIECE_LEN).min(metadata_len))
}

impl Session {
    pub(super) fn take_extended(
        &mut self,
        seeding: &Seeding,
        id: u8,
        payload: &[u8],
    ) -> Result<Worth, Violation> {
        match id {
            EXTENDED_HANDSHAKE_ID => Ok(self.extended.take_handshake(ExtendedHandshake::decode(payload)?)),
            UT_METADATA_ID => Ok(self.take_metadata_message(seeding, MetadataMessage::decode(payload)?.0)),
            _ => Ok(Worth::Nothing),
        }
    }

    fn take_metadata_message(&mut self, seeding: &Seeding, message: MetadataMessage) -> Worth {
        // We ask for nothing, so other messages answer nothing; and who takes no answer gets none.
        let (MetadataMessage::Request { piece }, 1..) = (message, self.extended.ut_metadata) else {
            return Worth::Nothing;
        };
        if self.extended.promise(piece, seeding.metadata_len) {
            return Worth::Something;
        }
        let payload = &MetadataMessage::Reject { piece }.encode()[..];
        Message::Extended { id: self.extended.ut_metadata, payload }.encode(&mut self.control);
        Worth::Nothing
    }
}
