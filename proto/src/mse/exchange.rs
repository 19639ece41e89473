//! The key exchange: Diffie-Hellman over a prime of 768 bits.
//!
//! Owns the prime, the generator and which public keys are refused. Refuses to make secrets: chance is the
//! caller's.

use crypto_bigint::{
    Odd, U192, U768,
    modular::{FixedMontyForm, FixedMontyParams},
};

use super::error::MseError;

/// Bytes of a secret. The specification wants 128 bits at least and has no use for more than 160.
pub const MSE_SECRET_LEN: usize = 20;

/// Bytes of a public key and of the shared secret, leading zeros included.
pub(super) const KEY_LEN: usize = 96;

const SECRET_BITS: u32 = 8 * MSE_SECRET_LEN as u32;

/// How many secrets the side that is dialled tries. Of honest keys, one in 256 takes a second.
const MAX_TRIES: u8 = 8;

const PRIME: Odd<U768> = Odd::<U768>::from_be_hex(concat!(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74",
    "020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437",
    "4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
));
const GENERATOR: U768 = U768::from_u8(2);

static MODULUS: FixedMontyParams<{ U768::LIMBS }> = FixedMontyParams::new_vartime(PRIME);

/// One side's secret exponent.
pub(super) struct Secret(U192);

impl Secret {
    pub(super) fn new(bytes: [u8; MSE_SECRET_LEN]) -> Self {
        let mut wide = [0; U192::BYTES];
        wide.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
        Self(U192::from_be_slice(&wide))
    }

    /// Y: what the other side is told.
    pub(super) fn public_key(&self) -> [u8; KEY_LEN] {
        self.raise(&GENERATOR)
    }

    /// S, from the other side's public key.
    ///
    /// # Errors
    ///
    /// When the key isn't between 2 and P-2: the powers of 0, 1 and P-1 are known without the secret, and the
    /// others don't come out of a computation modulo P.
    pub(super) fn agree(&self, public_key: &[u8; KEY_LEN]) -> Result<SharedSecret, MseError> {
        let key = U768::from_be_slice(public_key);
        let last = PRIME.as_ref().wrapping_sub(&U768::ONE);
        if key <= U768::ONE || key >= last {
            return Err(MseError::PublicKey);
        }
        Ok(SharedSecret(self.raise(&key)))
    }

    /// Y and S for the side that is dialled, of this secret or of one near it: S doesn't
    /// [begin with a zero](SharedSecret::begins_with_zero), unless each that was tried does.
    ///
    /// # Errors
    ///
    /// As [`agree`](Self::agree).
    pub(super) fn answer(
        self,
        public_key: &[u8; KEY_LEN],
    ) -> Result<([u8; KEY_LEN], SharedSecret), MseError> {
        let (mut secret, mut shared) = (Self(self.0), self.agree(public_key)?);
        for other in 1..MAX_TRIES {
            if !shared.begins_with_zero() {
                break;
            }
            secret = Self(self.0 ^ U192::from_u8(other));
            shared = secret.agree(public_key)?;
        }
        Ok((secret.public_key(), shared))
    }

    fn raise(&self, base: &U768) -> [u8; KEY_LEN] {
        let power = FixedMontyForm::new(base, &MODULUS).pow_bounded_exp(&self.0, SECRET_BITS);
        power.retrieve().to_be_bytes().into()
    }
}

/// S: what both sides know and nobody else does.
pub(super) struct SharedSecret([u8; KEY_LEN]);

impl SharedSecret {
    pub(super) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// One in 256 does. Both sides are to hash its leading zeros, too, and rtorrent leaves them out: what it says isn't
    /// understood then, and it understands nothing.
    pub(super) fn begins_with_zero(&self) -> bool {
        self.0.starts_with(&[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(n: u16) -> Secret {
        let mut bytes = [0x5a; MSE_SECRET_LEN];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Secret::new(bytes)
    }

    #[test]
    fn the_side_that_is_dialled_agrees_on_nothing_that_begins_with_a_zero() {
        let ours = || secret(0);
        let agrees_on_zero = |theirs: &Secret| ours().agree(&theirs.public_key()).unwrap().begins_with_zero();
        let theirs = (1..).map(secret).find(agrees_on_zero).unwrap();
        let (public_key, shared) = ours().answer(&theirs.public_key()).unwrap();
        assert!(!shared.begins_with_zero());
        assert_eq!(shared.as_bytes(), theirs.agree(&public_key).unwrap().as_bytes());
    }

    #[test]
    fn the_side_that_is_dialled_keeps_its_secret_where_that_will_do() {
        let theirs = secret(1).public_key();
        let (public_key, shared) = secret(0).answer(&theirs).unwrap();
        assert_eq!(public_key, secret(0).public_key());
        assert_eq!(shared.as_bytes(), secret(0).agree(&theirs).unwrap().as_bytes());
    }

    /// Small powers of two: by one who has guessed our secret, say. It gets the last of them.
    #[test]
    fn the_side_that_is_dialled_gives_up_after_so_many_tries() {
        let mut bytes = [0; MSE_SECRET_LEN];
        bytes[MSE_SECRET_LEN - 1] = MAX_TRIES;
        let (_, shared) = Secret::new(bytes).answer(&GENERATOR.to_be_bytes().into()).unwrap();
        let last = 1_u16 << (2 * MAX_TRIES - 1);
        assert_eq!(shared.as_bytes()[KEY_LEN - 2..], last.to_be_bytes());
    }
}
