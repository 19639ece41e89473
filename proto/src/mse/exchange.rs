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
}
