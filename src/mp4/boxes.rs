//! Boxes (ISO/IEC 14496-12 section 4.2): a writer into a fixed buffer, a bounds-checked reader.

use core::fmt;

/// Bytes of a box's size and type.
pub const HEADER_LEN: usize = 8;

/// The buffer ended at byte `at`, and more had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Where the write that did not fit began.
    pub at: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room for what belongs at byte {}", self.at)
    }
}

impl core::error::Error for Full {}

/// Writes boxes into a buffer; sizes are filled in when a box ends.
#[derive(Debug)]
pub struct BoxWriter<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> BoxWriter<'a> {
    /// Writes from the beginning of `out`.
    pub const fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Bytes written.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// A box with what `content` writes.
    pub fn nested(
        &mut self,
        kind: &[u8; 4],
        content: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let start = self.at;
        self.u32(0)?;
        self.bytes(kind)?;
        content(self)?;
        let size = u32::try_from(self.at - start).map_err(|_| Full { at: start })?;
        self.patch_u32(start, size)
    }

    /// A box with version and 24 bits of flags in front (section 4.2.2, `FullBox`).
    pub fn nested_full(
        &mut self,
        kind: &[u8; 4],
        version: u8,
        flags: u32,
        content: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.nested(kind, |w| {
            w.u32(u32::from(version) << 24 | flags)?;
            content(w)
        })
    }

    /// `data` as it is.
    pub fn bytes(&mut self, data: &[u8]) -> Result<(), Full> {
        let full = Full { at: self.at };
        let end = self.at.checked_add(data.len()).ok_or(full)?;
        let to = self.out.get_mut(self.at..end).ok_or(full)?;
        to.copy_from_slice(data);
        self.at = end;
        Ok(())
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> Result<(), Full> {
        self.bytes(&[value])
    }

    /// 16 bits, big-endian like all numbers in boxes.
    pub fn u16(&mut self, value: u16) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// 32 bits.
    pub fn u32(&mut self, value: u32) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// 64 bits.
    pub fn u64(&mut self, value: u64) -> Result<(), Full> {
        self.bytes(&value.to_be_bytes())
    }

    /// 32 bits over what is already written at `at`.
    pub fn patch_u32(&mut self, at: usize, value: u32) -> Result<(), Full> {
        let written = self.out.get_mut(..self.at).unwrap_or_default();
        let to = written.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
        *to.ok_or(Full { at })? = value.to_be_bytes();
        Ok(())
    }
}

/// What is wrong with boxes that are read. Positions count from the beginning of the slice
/// the outermost reader was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxError {
    /// The box, or the field, at `at` goes on past the end of what holds it.
    Truncated {
        /// Its first byte.
        at: usize,
    },
    /// The box at `at` says it has fewer than 8 bytes: 0 and 1, for "to the end" and for
    /// 64-bit sizes, are not written by us either.
    Size {
        /// Its first byte.
        at: usize,
        /// What stands there.
        size: u32,
    },
    /// There is no box `kind` among those that begin at `at`.
    Missing {
        /// Its type.
        kind: [u8; 4],
        /// Where the search began.
        at: usize,
    },
}

impl fmt::Display for BoxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "byte {at}: cut off"),
            Self::Size { at, size } => write!(f, "byte {at}: box size {size}"),
            Self::Missing { kind, at } => {
                write!(f, "byte {at}: no box {} from here on", kind.escape_ascii())
            }
        }
    }
}

impl core::error::Error for BoxError {}

/// One box, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxView<'a> {
    /// Its type.
    pub kind: [u8; 4],
    /// Position of its first byte.
    pub at: usize,
    /// All of it, size and type included.
    pub bytes: &'a [u8],
}

impl<'a> BoxView<'a> {
    /// What follows size and type.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The boxes inside it.
    pub fn children(&self) -> Boxes<'a> {
        Boxes {
            data: self.payload(),
            at: self.at + HEADER_LEN,
        }
    }

    /// The fields inside it.
    pub fn fields(&self) -> Fields<'a> {
        Fields {
            data: self.payload(),
            at: self.at + HEADER_LEN,
        }
    }
}

/// The boxes of a slice, one after another. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Boxes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Boxes<'a> {
    /// The boxes of `data`, which begins with one.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// The next box `kind`; what lies before it is passed over.
    pub fn find_box(&mut self, kind: &[u8; 4]) -> Result<BoxView<'a>, BoxError> {
        let missing = BoxError::Missing {
            kind: *kind,
            at: self.at,
        };
        self.find(|found| !matches!(found, Ok(found) if found.kind != *kind))
            .unwrap_or(Err(missing))
    }

    fn split(&mut self) -> Result<BoxView<'a>, BoxError> {
        let at = self.at;
        let mut fields = Fields {
            data: self.data,
            at,
        };
        let size = fields.u32()?;
        let kind = fields.array()?;
        let len = usize::try_from(size).map_err(|_| BoxError::Truncated { at })?;
        if len < HEADER_LEN {
            return Err(BoxError::Size { at, size });
        }
        let (bytes, rest) = self
            .data
            .split_at_checked(len)
            .ok_or(BoxError::Truncated { at })?;
        self.data = rest;
        self.at += len;
        Ok(BoxView { kind, at, bytes })
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<BoxView<'a>, BoxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.data.is_empty() {
            return None;
        }
        let item = self.split();
        if item.is_err() {
            self.data = &[];
        }
        Some(item)
    }
}

/// Reads the fields of a box in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of `data`, positions counted from its beginning.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// Position of the next field.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.data
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], BoxError> {
        let split = self.data.split_at_checked(len);
        let (bytes, rest) = split.ok_or(BoxError::Truncated { at: self.at })?;
        self.data = rest;
        self.at += len;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BoxError> {
        let at = self.at;
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| BoxError::Truncated { at })
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> Result<u32, BoxError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> Result<u64, BoxError> {
        Ok(u64::from_be_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(out: &mut [u8]) -> Result<usize, Full> {
        let mut w = BoxWriter::new(out);
        w.nested(b"moov", |w| {
            w.nested_full(b"tfdt", 1, 0x02_0304, |w| w.u64(5))?;
            w.nested(b"free", |_| Ok(()))
        })?;
        w.nested(b"mdat", |w| {
            w.u8(1)?;
            w.u16(2)
        })?;
        Ok(w.position())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = [0; 64];
        let len = nested(&mut out).unwrap();
        assert_eq!(len, 8 + 20 + 8 + 11);
        let boxes: Vec<_> = Boxes::new(&out[..len]).map(Result::unwrap).collect();
        let [moov, mdat] = boxes[..] else {
            panic!("{boxes:?}")
        };
        assert_eq!((&moov.kind, moov.at), (b"moov", 0));
        assert_eq!((&mdat.kind, mdat.at), (b"mdat", 36));
        assert_eq!(mdat.payload(), [1, 0, 2]);

        let tfdt = moov.children().find_box(b"tfdt").unwrap();
        let mut fields = tfdt.fields();
        assert_eq!(fields.u32(), Ok(0x0102_0304));
        assert_eq!(fields.u64(), Ok(5));
        assert_eq!(fields.u32(), Err(BoxError::Truncated { at: 28 }));
        let free = moov.children().find_box(b"free").unwrap();
        assert_eq!((free.at, free.payload()), (28, &[][..]));
        assert_eq!(
            moov.children().find_box(b"trak"),
            Err(BoxError::Missing {
                kind: *b"trak",
                at: 8
            })
        );
    }

    #[test]
    fn a_buffer_too_short_by_any_number_of_bytes_is_full() {
        let mut out = [0; 64];
        let len = nested(&mut out).unwrap();
        for short in 0..len {
            let full = nested(&mut out[..short]).unwrap_err();
            assert!(full.at <= short, "{full} of {short}");
        }
    }

    #[test]
    fn a_patch_stays_inside_what_is_written() {
        let mut out = [0; 16];
        let mut w = BoxWriter::new(&mut out);
        w.u64(0).unwrap();
        assert_eq!(w.patch_u32(4, 7), Ok(()));
        for at in [5, 8, 12, usize::MAX] {
            assert_eq!(w.patch_u32(at, 7), Err(Full { at }));
        }
    }

    #[test]
    fn a_bad_size_ends_the_boxes_with_its_position() {
        let cases: [(&[u8], BoxError); 6] = [
            (&[0, 0, 0], BoxError::Truncated { at: 8 }),
            (&[0, 0, 0, 8, b'f'], BoxError::Truncated { at: 12 }),
            (b"\0\0\0\x09free", BoxError::Truncated { at: 8 }),
            (b"\0\0\0\x07free", BoxError::Size { at: 8, size: 7 }),
            (b"\0\0\0\0free", BoxError::Size { at: 8, size: 0 }),
            (b"\0\0\0\x01free", BoxError::Size { at: 8, size: 1 }),
        ];
        for (tail, error) in cases {
            let data = [b"\0\0\0\x08free", tail].concat();
            let mut boxes = Boxes::new(&data);
            assert!(boxes.next().unwrap().is_ok());
            assert_eq!(boxes.next(), Some(Err(error)), "{tail:?}");
            assert_eq!(boxes.next(), None);
        }
    }
}
