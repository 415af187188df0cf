//! The parameter sets of an H.264 track, one of each identifier, oldest first.

use crate::media::{ParameterSet, ParameterSets};
use crate::rtp::nal::{self, BitReader};
use crate::rtp::sps::{self, SpsError};

/// Keeps a parameter set in the place of the one with its identifier. True: it is new. If there
/// is no room, the oldest goes.
pub fn keep(sets: &mut ParameterSets, unit: &[u8]) -> Result<bool, SpsError> {
    let mut set = ParameterSet::new();
    let too_long = SpsError::TooLong { len: unit.len() };
    set.extend_from_slice(unit).map_err(|_| too_long)?;
    if unit
        .first()
        .is_some_and(|header| nal::kind(*header) == nal::PPS)
    {
        let id = picture_set_id(unit)?;
        return Ok(replace(&mut sets.pps, set, |set| {
            picture_set_id(set) == Ok(id)
        }));
    }
    let id = sequence_set_id(unit)?;
    Ok(replace(&mut sets.sps, set, |set| {
        sequence_set_id(set) == Ok(id)
    }))
}

fn replace<const N: usize>(
    sets: &mut heapless::Vec<ParameterSet, N>,
    set: ParameterSet,
    is_same: impl Fn(&[u8]) -> bool,
) -> bool {
    if sets.contains(&set) {
        return false;
    }
    let old = sets.iter().position(|set| is_same(set));
    if let Some(at) = old.or(sets.is_full().then_some(0)) {
        sets.remove(at);
    }
    sets.push(set).is_ok()
}

/// `seq_parameter_set_id` of an SPS NAL unit, 0 to 31.
fn sequence_set_id(unit: &[u8]) -> Result<u8, SpsError> {
    let mut bits = BitReader::new(sps::body(unit, nal::SPS)?);
    let _profile_and_level = bits.bits(24)?;
    sps::bounded(bits.unsigned()?, 31, &bits)
}

/// `pic_parameter_set_id` of a PPS NAL unit, 0 to 255.
fn picture_set_id(unit: &[u8]) -> Result<u8, SpsError> {
    let mut bits = BitReader::new(sps::body(unit, nal::PPS)?);
    sps::bounded(bits.unsigned()?, 255, &bits)
}
