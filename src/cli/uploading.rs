//! The flags that say whom to upload to, and how fast.

use std::num::NonZeroUsize;

use clap::Args;

use crate::config::{
    Choking, ChokingConfig, Dscp, SeederConfig, SuperSeeding, UploadRate, UploadRates, UploadSlots,
};

/// What `serve` takes of that.
#[derive(Debug, Args)]
#[command(next_help_heading = "Uploading")]
pub(super) struct UploadArgs {
    /// How many peers to upload to at a time, "auto" (64, fewer on a slow uplink, more for slow peers) or "unlimited"
    #[arg(long, value_name = "N", default_value_t)]
    upload_slots: UploadSlots,

    /// Who goes first: who has waited longest (round-robin), who takes the most (fastest), or who has least and who lacks
    /// least (newcomers)
    #[arg(long, value_name = "STRATEGY", default_value_t)]
    choking: Choking,

    /// So many of the slots go by waiting time whatever the strategy [default: a fifth]
    #[arg(long, value_name = "N")]
    optimistic_slots: Option<NonZeroUsize>,

    /// So many slots are for each group, the peers at one place, that has peers waiting, before others have more
    #[arg(long, value_name = "N", default_value_t = 0)]
    reserved_slots: usize,

    /// Bytes a second to all peers together: 500k, 10M, 8MiB; "unlimited" or 0: as many as can be
    #[arg(long, value_name = "RATE", default_value_t)]
    max_upload_rate: UploadRate,

    /// Bytes a second to the peers of each group
    #[arg(long, value_name = "RATE", default_value_t)]
    max_upload_rate_per_group: UploadRate,

    /// Bytes a second to each host, whatever connections it has
    #[arg(long, value_name = "RATE", default_value_t)]
    max_upload_rate_per_peer: UploadRate,

    /// Mark packets to peers: a DSCP from 0 to 63, or its name such as le, cs1, af11 or ef
    #[arg(long, value_name = "DSCP")]
    dscp: Option<Dscp>,

    /// Show pieces one by one, each to one peer first, which passes it on (on), show all of them at once (off), or by
    /// how many hosts download a file (auto)
    #[arg(long, value_name = "MODE", default_value_t)]
    super_seeding: SuperSeeding,
}

impl UploadArgs {
    pub(super) fn rates(&self) -> UploadRates {
        UploadRates {
            total: self.max_upload_rate,
            per_group: self.max_upload_rate_per_group,
            per_peer: self.max_upload_rate_per_peer,
        }
    }

    pub(super) fn set(self, config: &mut SeederConfig) {
        config.choking = ChokingConfig {
            strategy: self.choking,
            slots: self.upload_slots,
            optimistic_slots: self.optimistic_slots,
            reserved_slots: self.reserved_slots,
        };
        config.rates = self.rates();
        config.dscp = self.dscp;
        config.super_seeding = self.super_seeding;
    }
}
