//! The places of a configuration file, each with its networks.

use toml::Spanned;
use toml::de::DeValue;

use super::error::{FileProblem, Misplaced};
use crate::topology::{Network, PlaceName, TopologyBuilder};

/// Adds what `[[place]]` says to a table.
pub(super) fn read(places: &Spanned<DeValue<'_>>, table: &mut TopologyBuilder) -> Result<(), Misplaced> {
    let DeValue::Array(written) = places.get_ref() else { return Err(at(places, FileProblem::NoPlace)) };
    for place in written {
        let DeValue::Table(keys) = place.get_ref() else { return Err(at(place, FileProblem::NoPlace)) };
        if let Some((key, _)) = keys.iter().find(|(key, _)| !matches!(&**key.get_ref(), "at" | "networks")) {
            return Err(at(key, FileProblem::UnknownPlaceKey(key.get_ref().to_string())));
        }
        let name: PlaceName = parse(keys.get("at").unwrap_or(place))?;
        let networks = keys.get("networks").unwrap_or(place);
        let DeValue::Array(written) = networks.get_ref() else {
            return Err(at(networks, FileProblem::NoPlace));
        };
        for written in written {
            let network: Network = parse(written)?;
            table.add(network, &name).map_err(|error| at(written, error.into()))?;
        }
    }
    Ok(())
}

fn parse<T: std::str::FromStr<Err: Into<FileProblem>>>(
    written: &Spanned<DeValue<'_>>,
) -> Result<T, Misplaced> {
    let DeValue::String(text) = written.get_ref() else { return Err(at(written, FileProblem::NoPlace)) };
    text.parse().map_err(|error: T::Err| at(written, error.into()))
}

fn at<T>(written: &Spanned<T>, problem: FileProblem) -> Misplaced {
    Misplaced { at: written.span().start, problem }
}
