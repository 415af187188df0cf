//! RTP time beyond 32 bits.

/// RTP time without wraps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwrapper {
    newest: Option<i64>,
}

impl Unwrapper {
    /// The time nearest to the newest one that is `rtp` modulo 2^32.
    pub(super) const fn unwrap(&self, rtp: u32) -> i64 {
        match self.newest {
            Some(newest) => {
                #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
                let step = rtp.wrapping_sub(newest as u32).cast_signed();
                newest + step as i64
            }
            None => rtp as i64,
        }
    }

    /// `to` is the newest from now on.
    pub(super) const fn advance(&mut self, to: i64) {
        self.newest = Some(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_one_track_agree_on_their_nearest_wrap() {
        let mut unwrapper = Unwrapper::default();
        for (rtp, expected) in [
            (0xffff_ff00, 0xffff_ff00),
            (0x100, 0x1_0000_0100),
            (0xffff_fff0, 0xffff_fff0),
            (0x7fff_0000, 0x1_7fff_0000),
            (0xffff_0000, 0xffff_0000),
            (0x8000_0000, 0x8000_0000),
            (0x0000_0001, 0x0000_0001),
            (0xffff_fff0, -0x10),
        ] {
            let unwrapped = unwrapper.unwrap(rtp);
            assert_eq!(unwrapped, expected, "{rtp:#x}");
            unwrapper.advance(unwrapped);
        }
    }
}
