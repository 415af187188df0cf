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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_takes_the_place_of_the_one_with_its_identifier() {
        let mut sets = ParameterSets::default();
        let (first, second) = ([0x67, 77, 0, 30, 0x9a], [0x67, 77, 0, 30, 0x9b]);
        let other_id = [0x67, 77, 0, 30, 0x4a];
        assert_eq!(keep(&mut sets, &first), Ok(true));
        assert_eq!(keep(&mut sets, &first), Ok(false));
        assert_eq!(keep(&mut sets, &other_id), Ok(true));
        assert_eq!(keep(&mut sets, &second), Ok(true));
        assert_eq!(sets.sps, [&other_id[..], &second]);
        assert_eq!(keep(&mut sets, &[0x68, 0x80]), Ok(true));
        assert_eq!(keep(&mut sets, &[0x68, 0x90]), Ok(true));
        assert_eq!(sets.pps, [[0x68, 0x90]]);
    }

    #[test]
    fn the_oldest_goes_when_there_is_no_room() {
        let mut sets = ParameterSets::default();
        for id in [0x90, 0x4a, 0x6a] {
            assert_eq!(keep(&mut sets, &[0x67, 77, 0, 30, id]), Ok(true));
        }
        let ids: Vec<_> = sets.sps.iter().map(|set| set[4]).collect();
        assert_eq!(ids, [0x4a, 0x6a]);
    }

    #[test]
    fn what_is_no_parameter_set_is_refused() {
        let mut sets = ParameterSets::default();
        for (unit, expected) in [
            (&[0x65, 1, 2, 3][..], SpsError::Type { header: 0x65 }),
            (&[], SpsError::Missing),
            (&[0x67, 77, 0, 30], SpsError::Truncated { at: 24 }),
            (&[0x68], SpsError::Truncated { at: 0 }),
            (
                &[0x67, 77, 0, 30, 0x04, 0x20],
                SpsError::Value { at: 35, value: 32 },
            ),
            (&[0x67; 513], SpsError::TooLong { len: 513 }),
        ] {
            assert_eq!(keep(&mut sets, unit), Err(expected), "{unit:x?}");
        }
        assert_eq!(sets, ParameterSets::default());
    }
}
