//! Settings that are one of a few names: read and written by them alone.

/// Has a type read from text by the names of its values, and written so. It lists them as `ALL` and says each one's
/// `name`; the error holds the text that names none.
macro_rules! read_and_written_by_name {
    ($choice:ty, $error:ident) => {
        impl std::str::FromStr for $choice {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::ALL
                    .into_iter()
                    .find(|choice| choice.name() == text)
                    .ok_or_else(|| $error(text.to_owned()))
            }
        }

        impl std::fmt::Display for $choice {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

pub(super) use read_and_written_by_name;
