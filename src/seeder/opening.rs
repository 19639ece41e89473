//! How a connection begins: whether it is encrypted is told by its first bytes, and if it is, the keys are agreed on
//! before anything else is said. Owns who may come in the clear, by the operator's policy.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use distributor_proto::{
    InfoHash, MAX_MSE_PADDING, MseError, MseInitiator, MseOffer, MseProgress, MseResponder, MseStream,
    begins_in_the_clear,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::catalog::Catalog;
use crate::config::Encryption;

/// How much is read at a time while keys are agreed on; both sides' parts are shorter.
const READ_LEN: usize = 2048;

/// A stream on which the peer wire protocol can begin.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: TcpStream,
    pub(super) cipher: MseStream,
    /// What has come of it already, decrypted.
    pub(super) received: Bytes,
    /// What the keys were made from, if there are any.
    pub(super) info_hash: Option<InfoHash>,
}

/// Why it can't.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpeningError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer closed the connection before it said anything of use")]
    Eof,
    #[error("the peer doesn't encrypt, and encryption is required here")]
    InTheClear,
    #[error("the peer encrypts, and encryption is off here")]
    Encrypted,
    #[error("the peer asks in encrypted form for a torrent that isn't served")]
    UnknownTorrent,
    #[error("encryption: {0}")]
    Mse(#[from] MseError),
}

/// Opens a connection that a peer has made.
pub(super) async fn accept(
    mut stream: TcpStream,
    policy: Encryption,
    catalog: &Catalog,
) -> Result<Opened, OpeningError> {
    let mut received = BytesMut::new();
    let in_the_clear = loop {
        read(&mut stream, &mut received).await?;
        if let Some(in_the_clear) = begins_in_the_clear(&received) {
            break in_the_clear;
        }
    };
    match (in_the_clear, policy) {
        (true, Encryption::Require) => return Err(OpeningError::InTheClear),
        (true, _) => {
            let received = received.freeze();
            return Ok(Opened { stream, cipher: MseStream::Plain, received, info_hash: None });
        }
        (false, Encryption::Off) => return Err(OpeningError::Encrypted),
        (false, _) => {}
    }

    let mut responder = MseResponder::new(offer(policy), rand::random(), &padding());
    let mut answer = BytesMut::new();
    let mut asked = None;
    loop {
        let mut progress = responder.receive(&received, &mut answer)?;
        received.clear();
        if let MseProgress::Torrent(digest) = progress {
            let info_hash = catalog.by_digest(&digest).ok_or(OpeningError::UnknownTorrent)?;
            asked = Some(info_hash);
            progress = responder.choose(info_hash, &mut answer)?;
        }
        stream.write_all_buf(&mut answer).await?;
        if let MseProgress::Done { stream: cipher, received } = progress {
            return Ok(Opened { stream, cipher, received, info_hash: asked });
        }
        read(&mut stream, &mut received).await?;
    }
}

/// Opens a connection that we have made. `hello` is what we say first: encrypted it goes along with the keys, which
/// spares a round trip.
pub(super) async fn dial(
    mut stream: TcpStream,
    encrypted: bool,
    policy: Encryption,
    info_hash: InfoHash,
    hello: &[u8],
) -> Result<Opened, OpeningError> {
    if !encrypted {
        stream.write_all(hello).await?;
        return Ok(Opened { stream, cipher: MseStream::Plain, received: Bytes::new(), info_hash: None });
    }
    let mut out = BytesMut::new();
    let mut initiator =
        MseInitiator::new(info_hash, offer(policy), rand::random(), &padding(), &padding(), hello, &mut out);
    let mut received = BytesMut::new();
    loop {
        stream.write_all_buf(&mut out).await?;
        read(&mut stream, &mut received).await?;
        let progress = initiator.receive(&received, &mut out)?;
        received.clear();
        if let MseProgress::Done { stream: cipher, received } = progress {
            stream.write_all_buf(&mut out).await?;
            return Ok(Opened { stream, cipher, received, info_hash: Some(info_hash) });
        }
    }
}

/// What we agree to. Where it is all the same to the operator the payload stays in the clear: that costs neither side
/// anything, and files need not be looked at to be sent.
fn offer(policy: Encryption) -> MseOffer {
    match policy {
        Encryption::Off | Encryption::Allow => MseOffer::PLAINTEXT_OR_RC4,
        Encryption::Prefer => MseOffer::RC4_OR_PLAINTEXT,
        Encryption::Require => MseOffer::RC4_ONLY,
    }
}

fn padding() -> Vec<u8> {
    let mut padding = vec![0; rand::random_range(0..=MAX_MSE_PADDING)];
    rand::fill(&mut padding[..]);
    padding
}

async fn read(stream: &mut TcpStream, received: &mut BytesMut) -> Result<(), OpeningError> {
    received.reserve(READ_LEN);
    match stream.read_buf(&mut (&mut *received).limit(READ_LEN)).await? {
        0 => Err(OpeningError::Eof),
        _ => Ok(()),
    }
}
