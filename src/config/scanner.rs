//! A scan of the whole file before serde-json-core sees it (RFC 8259).
//!
//! serde-json-core has no positions, takes junk in values it ignores, overflows the stack on
//! `[[[[` and stumbles over escapes. So this scanner finds everything that is not JSON, notes
//! the line of each value, and hands on the same values without white space and with no escapes
//! but the needed ones.

use core::iter::Peekable;
use core::str::Chars;
use std::collections::BTreeMap;

use super::FILE_BYTES_MAX;
use super::error::{Error, Problem, Syntax};
use super::places::{Entry, Kind, Place, push_index, push_key};

/// Most brackets in each other; bounds the recursion. LVA's topologies need 7.
const DEPTH_MAX: usize = 32;

/// Most values in a file; bounds the memory of the scan.
const VALUES_MAX: usize = 16 * 1024;

/// What a scan leaves.
#[derive(Debug)]
pub(super) struct Scan {
    /// The same values as plain JSON. Holds secrets.
    pub(super) json: String,
    /// Every value in the order of the file; the first is the whole file.
    pub(super) entries: Vec<Entry>,
}

/// Why and where a file is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ScanError {
    line: u32,
    path: String,
    syntax: Syntax,
}

impl ScanError {
    /// The same as an error of the file called `name`.
    pub(super) fn in_file(self, name: &str) -> Error {
        Error {
            place: Place {
                file: name.to_owned(),
                line: self.line,
                path: self.path,
            },
            problem: Problem::Syntax(self.syntax),
        }
    }
}

/// Scans `text`, a whole file.
pub(super) fn scan(text: &[u8]) -> Result<Scan, ScanError> {
    let mut scanner = Scanner {
        chars: decode(text)?.chars().peekable(),
        line: 1,
        path: String::new(),
        scan: Scan {
            json: String::new(),
            entries: Vec::new(),
        },
    };
    scanner.file()?;
    Ok(scanner.scan)
}

/// The text of a file, without a byte-order mark.
fn decode(text: &[u8]) -> Result<&str, ScanError> {
    let at = |line, syntax| ScanError {
        line,
        path: String::new(),
        syntax,
    };
    if text.len() > FILE_BYTES_MAX {
        return Err(at(1, Syntax::TooLarge));
    }
    // Windows PowerShell 5 writes UTF-16 unless told otherwise.
    if text.starts_with(&[0xFF, 0xFE]) || text.starts_with(&[0xFE, 0xFF]) {
        return Err(at(1, Syntax::Utf16));
    }
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    core::str::from_utf8(text).map_err(|error| {
        let good = text.get(..error.valid_up_to()).unwrap_or_default();
        let lines = good.iter().filter(|&&byte| byte == b'\n').count();
        at(
            u32::try_from(lines + 1).unwrap_or(u32::MAX),
            Syntax::NotUtf8,
        )
    })
}

struct Scanner<'a> {
    chars: Peekable<Chars<'a>>,
    line: u32,
    path: String,
    scan: Scan,
}

impl Scanner<'_> {
    fn file(&mut self) -> Result<(), ScanError> {
        if self.peek_token()?.is_none() {
            return Err(self.error(Syntax::Empty));
        }
        self.value(self.line, 0)?;
        match self.peek_token()? {
            None => Ok(()),
            Some(_) => Err(self.error(Syntax::AfterEnd)),
        }
    }

    /// One value, noted with `line`. Recursion ends at [`DEPTH_MAX`].
    fn value(&mut self, line: u32, depth: usize) -> Result<(), ScanError> {
        let kind = match self.peek_token()? {
            Some('"') => Kind::Text,
            Some('{') => Kind::Object,
            Some('[') => Kind::List,
            Some('-' | '0'..='9') => Kind::Number,
            Some('\'' | '\u{2018}'..='\u{201F}') => return Err(self.error(Syntax::WrongQuotes)),
            None | Some(',' | '}' | ']' | ':') => return Err(self.error(Syntax::MissingValue)),
            Some(_) => Kind::Word,
        };
        if self.scan.entries.len() == VALUES_MAX {
            return Err(self.error(Syntax::TooManyValues));
        }
        self.scan.entries.push(Entry {
            path: self.path.clone(),
            line,
            kind,
        });
        match kind {
            Kind::Text => self.text().map(drop),
            Kind::Number | Kind::Word => self.word(kind),
            Kind::Object | Kind::List if depth == DEPTH_MAX => Err(self.error(Syntax::TooDeep)),
            Kind::Object => self.object(depth + 1),
            Kind::List => self.list(depth + 1),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), ScanError> {
        let open = self.open_bracket('{');
        let mut keys = BTreeMap::new();
        loop {
            match self.peek_token()? {
                Some('"') => {}
                Some('}') if keys.is_empty() => break self.close_bracket('}'),
                Some('}') => return Err(self.error(Syntax::TrailingComma)),
                Some(',') => return Err(self.error(Syntax::ExtraComma)),
                Some('\'' | '\u{2018}'..='\u{201F}') => {
                    return Err(self.error(Syntax::WrongQuotes));
                }
                Some(']') => return Err(self.error(open.closed_wrongly())),
                Some(_) => return Err(self.error(Syntax::KeyWithoutQuotes)),
                None => return Err(self.error(open.not_closed())),
            }
            let (outer, line) = (self.path.len(), self.line);
            let key = self.text()?;
            push_key(&mut self.path, &key);
            if let Some(&line) = keys.get(&key) {
                return Err(self.error(Syntax::DuplicateKey { line }));
            }
            keys.insert(key, line);
            if self.peek_token()? != Some(':') {
                // Without a colon this may be a value, and a secret one: it is not shown.
                self.path.truncate(outer);
                return Err(self.error(Syntax::MissingColon));
            }
            self.pass(':');
            self.value(line, depth)?;
            if self.ends_after_value(open, '}')? {
                self.path.truncate(outer);
                break self.close_bracket('}');
            }
            self.path.truncate(outer);
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(), ScanError> {
        let open = self.open_bracket('[');
        let outer = self.path.len();
        for index in 0.. {
            match self.peek_token()? {
                Some(']') if index == 0 => break,
                Some(']') => return Err(self.error(Syntax::TrailingComma)),
                Some(',') => return Err(self.error(Syntax::ExtraComma)),
                Some('}') => return Err(self.error(open.closed_wrongly())),
                None => return Err(self.error(open.not_closed())),
                Some(_) => {}
            }
            push_index(&mut self.path, index);
            self.value(self.line, depth)?;
            let ends = self.ends_after_value(open, ']')?;
            self.path.truncate(outer);
            if ends {
                break;
            }
        }
        self.close_bracket(']');
        Ok(())
    }

    /// Passes the comma after a value, or says that `close` is next.
    fn ends_after_value(&mut self, open: Open, close: char) -> Result<bool, ScanError> {
        // A missing comma is missing on the line of the value, not on the next one.
        let line = self.line;
        match self.peek_token()? {
            Some(',') => {
                self.pass(',');
                Ok(false)
            }
            Some(c) if c == close => Ok(true),
            Some('}' | ']') => Err(self.error(open.closed_wrongly())),
            None => Err(self.error(open.not_closed())),
            Some(_) => Err(ScanError {
                line,
                ..self.error(Syntax::MissingComma)
            }),
        }
    }

    /// A text in double quotes: passes it on with as few escapes as JSON allows, and returns it.
    fn text(&mut self) -> Result<String, ScanError> {
        self.chars.next();
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some('"') => break,
                Some('\\') => text.push(self.escape()?),
                None | Some('\n' | '\r') => return Err(self.error(Syntax::OpenText)),
                Some('\0'..='\x1F' | '\x7F') => {
                    return Err(self.error(Syntax::ControlCharacter));
                }
                Some(c) => text.push(c),
            }
        }
        self.scan.json.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.scan.json.extend(['\\', c]),
                '\0'..='\x1F' => self.scan.json.push_str(&format!("\\u{:04x}", u32::from(c))),
                _ => self.scan.json.push(c),
            }
        }
        self.scan.json.push('"');
        Ok(text)
    }

    /// The character of an escape, behind its backslash (RFC 8259 section 7).
    fn escape(&mut self) -> Result<char, ScanError> {
        Ok(match self.chars.next() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\x08',
            Some('f') => '\x0C',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode_escape(),
            _ => return Err(self.error(Syntax::Escape)),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, ScanError> {
        let first = self.hex_digits()?;
        let code = match first {
            // No text of the file has a use for NUL, and paths end at it.
            0 => return Err(self.error(Syntax::ControlCharacter)),
            0xD800..=0xDBFF => {
                if (self.chars.next(), self.chars.next()) != (Some('\\'), Some('u')) {
                    return Err(self.error(Syntax::LoneSurrogate));
                }
                match self.hex_digits()? {
                    second @ 0xDC00..=0xDFFF => {
                        0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                    }
                    _ => return Err(self.error(Syntax::LoneSurrogate)),
                }
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| self.error(Syntax::LoneSurrogate))
    }

    fn hex_digits(&mut self) -> Result<u32, ScanError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.chars.next().and_then(|c| c.to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.error(Syntax::Escape))?;
        }
        Ok(code)
    }

    /// A number, `true`, `false` or `null`: everything up to the next token.
    fn word(&mut self, kind: Kind) -> Result<(), ScanError> {
        let ends = |c: &char| c.is_whitespace() || ",:{}[]\"".contains(*c);
        let mut word = String::new();
        while let Some(c) = self.chars.next_if(|c| !ends(c)) {
            word.push(c);
        }
        let good = match kind {
            Kind::Number => is_number(&word),
            _ => matches!(word.as_str(), "true" | "false" | "null"),
        };
        if !good {
            let digits = word
                .chars()
                .all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
            return Err(self.error(if digits {
                Syntax::Number
            } else {
                Syntax::TextWithoutQuotes
            }));
        }
        self.scan.json.push_str(&word);
        Ok(())
    }

    fn open_bracket(&mut self, bracket: char) -> Open {
        let line = self.line;
        self.pass(bracket);
        Open { bracket, line }
    }

    fn close_bracket(&mut self, bracket: char) {
        self.pass(bracket);
    }

    /// Passes the token `c`, which [`Self::peek_token`] has found.
    fn pass(&mut self, c: char) {
        self.chars.next();
        self.scan.json.push(c);
    }

    /// The next character that is not white space; a comment is an error.
    fn peek_token(&mut self) -> Result<Option<char>, ScanError> {
        while let Some(c) = self
            .chars
            .next_if(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
        {
            self.line += u32::from(c == '\n');
        }
        match self.chars.peek() {
            Some('/' | '#') => Err(self.error(Syntax::Comment)),
            next => Ok(next.copied()),
        }
    }

    fn error(&self, syntax: Syntax) -> ScanError {
        ScanError {
            line: self.line,
            path: self.path.clone(),
            syntax,
        }
    }
}

/// An open bracket, to be told of when its end is not found.
#[derive(Clone, Copy)]
struct Open {
    bracket: char,
    line: u32,
}

impl Open {
    const fn not_closed(self) -> Syntax {
        Syntax::Open {
            bracket: self.bracket,
            line: self.line,
        }
    }

    const fn closed_wrongly(self) -> Syntax {
        Syntax::WrongBracket {
            bracket: self.bracket,
            line: self.line,
        }
    }
}

/// RFC 8259 section 6: `-`, digits without a leading zero, fraction, exponent.
fn is_number(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = match word.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (word, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    let unsigned = |exponent| str::strip_prefix(exponent, ['+', '-']).unwrap_or(exponent);
    digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(unsigned(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &[u8]) -> String {
        scan(text).unwrap_err().in_file("cvr.json").to_string()
    }

    #[test]
    fn what_is_json_is_handed_on_plain() {
        for (text, json) in [
            ("\u{feff}{ }", "{}"),
            (
                "{\r\n\t\"a\" : [ ] ,\r\n\t\"b\" : [ 1 , -2.5e+3 ]\r\n}\r\n",
                r#"{"a":[],"b":[1,-2.5e+3]}"#,
            ),
            (
                r#"{"a":true,"b":false,"c":null}"#,
                r#"{"a":true,"b":false,"c":null}"#,
            ),
            (r#""sv=1\u0026sig=\/x""#, r#""sv=1&sig=/x""#),
            (
                r#""\"\\\b\f\n\r\t""#,
                r#""\"\\\u0008\u000c\u000a\u000d\u0009""#,
            ),
            (r#""\ud83d\uDE00 \u00e4""#, "\"\u{1f600} ä\""),
            (r#"{"\u0061":0}"#, r#"{"a":0}"#),
        ] {
            assert_eq!(scan(text.as_bytes()).unwrap().json, json);
        }
    }

    #[test]
    fn each_value_has_its_path_line_and_kind() {
        let text = "{\n\"a\":\n 1,\n\"b\": [\n true, {\"c\": \"\"}\n]}";
        let entries: Vec<_> = scan(text.as_bytes())
            .unwrap()
            .entries
            .into_iter()
            .map(|entry| (entry.path, entry.line, entry.kind))
            .collect();
        let expected = [
            ("", 1, Kind::Object),
            ("a", 2, Kind::Number),
            ("b", 4, Kind::List),
            ("b[0]", 5, Kind::Word),
            ("b[1]", 5, Kind::Object),
            ("b[1].c", 5, Kind::Text),
        ];
        assert_eq!(
            entries,
            expected.map(|(path, line, kind)| (path.to_owned(), line, kind))
        );
    }

    const NOT_JSON: &[(&str, &str)] = &[
        ("", "1: the file is empty; it must hold one object in { }"),
        (
            " \n",
            "2: the file is empty; it must hold one object in { }",
        ),
        (
            "{\"a\":1,\n}",
            "2: the comma before the closing bracket must go",
        ),
        (
            "{\"a\":[1,]}",
            "1: a: the comma before the closing bracket must go",
        ),
        ("{\"a\":1,,\"b\":1}", "1: there is one comma too many here"),
        ("[,1]", "1: there is one comma too many here"),
        (
            "{\"a\":\"x\"\n\"b\":1}",
            "1: a: a comma is missing after this value",
        ),
        ("[1\n2]", "1: [0]: a comma is missing after this value"),
        (
            "{\"a\":\"x\"y\"}",
            "1: a: a comma is missing after this value",
        ),
        ("{\n// x\n}", "2: JSON has no comments; take this one out"),
        ("{} # x", "1: JSON has no comments; take this one out"),
        ("{\"a\" 1}", "1: a colon is missing between key and value"),
        ("{\"a\":}", "1: a: the value is missing"),
        ("{\"a\":", "1: a: the value is missing"),
        ("{a:1}", "1: a key stands in double quotes, \"like this\""),
        (
            "{\"a\":PT30S}",
            "1: a: a text stands in double quotes, \"like this\"",
        ),
        (
            "{\"a\":192.0.2.1:5}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\"a\":30s}",
            "1: a: a text stands in double quotes, \"like this\"",
        ),
        (
            "{'a':1}",
            "1: keys and texts stand in straight double quotes, \"like this\"",
        ),
        (
            "{\"a\":\u{201c}b\u{201d}}",
            "1: a: keys and texts stand in straight double quotes, \"like this\"",
        ),
        (
            "{\"a\":\"b\n}",
            "1: a: the double quote at the end of this text is missing",
        ),
        (
            "{\"a\":\"b",
            "1: a: the double quote at the end of this text is missing",
        ),
        (
            "{\"a\":\"\t\"}",
            "1: a: a control character stands in this text; a tab is written as \\t",
        ),
        (
            "{\"a\":\"\\u0000\"}",
            "1: a: a control character stands in this text; a tab is written as \\t",
        ),
        (
            "{\"a\":\"C:\\data\"}",
            "1: a: a backslash in a text is written twice, \\\\, as in C:\\\\cvr",
        ),
        (
            "{\"a\":\"\\u12G4\"}",
            "1: a: a backslash in a text is written twice, \\\\, as in C:\\\\cvr",
        ),
        (
            "{\"a\":\"\\ud83d\"}",
            "1: a: half of a \\u surrogate pair stands alone",
        ),
        (
            "{\"a\":\"\\ud83d\\u0041\"}",
            "1: a: half of a \\u surrogate pair stands alone",
        ),
        (
            "{\"a\":\"\\ude00\"}",
            "1: a: half of a \\u surrogate pair stands alone",
        ),
        (
            "{\"a\":01}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\"a\":1.}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\"a\":-}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\"a\":+1}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\"a\":1e}",
            "1: a: this is not a number as JSON writes it, such as 2048 or -1.5",
        ),
        (
            "{\n\"a\":[1\n",
            "3: a[0]: the file ends before the [ of line 2 is closed",
        ),
        ("{\n", "2: the file ends before the { of line 1 is closed"),
        ("[\n", "2: the file ends before the [ of line 1 is closed"),
        (
            "{\"a\":[1}",
            "1: a[0]: the [ of line 1 is closed by the wrong bracket",
        ),
        ("[}", "1: the [ of line 1 is closed by the wrong bracket"),
        ("{]", "1: the { of line 1 is closed by the wrong bracket"),
        (
            "{}\n{}",
            "2: there is something after the end of the object",
        ),
        (
            "{\"a\":1,\n\"\\u0061\":2}",
            "2: a: is there already, in line 1; each key stands once",
        ),
    ];

    #[test]
    fn what_is_not_json_is_told_with_its_place_and_remedy() {
        for (text, line) in NOT_JSON {
            assert_eq!(error(text.as_bytes()), format!("cvr.json:{line}"), "{text}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_told_with_its_line() {
        assert_eq!(
            error(b"{\n\"a\": \"\xE4\"}"),
            "cvr.json:2: this line is not in UTF-8; save the file as UTF-8"
        );
        assert_eq!(
            error(b"\xFF\xFE{\0}\0"),
            "cvr.json:1: the file is in UTF-16; save it as UTF-8"
        );
    }

    #[test]
    fn depth_size_and_number_of_values_are_bounded() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(scan(nested(DEPTH_MAX).as_bytes()).is_ok());
        let deep = error(nested(DEPTH_MAX + 1).as_bytes());
        assert!(
            deep.ends_with(": more than 32 brackets stand in each other"),
            "{deep}"
        );
        let deep = error("[".repeat(FILE_BYTES_MAX).as_bytes());
        assert!(
            deep.ends_with(": more than 32 brackets stand in each other"),
            "{deep}"
        );

        let list = |length| format!("[{}]", vec!["1"; length].join(","));
        assert!(scan(list(VALUES_MAX - 1).as_bytes()).is_ok());
        assert_eq!(
            error(list(VALUES_MAX).as_bytes()),
            "cvr.json:1: [16383]: the file has more than 16384 values"
        );

        let mut text = b"{}".to_vec();
        text.resize(FILE_BYTES_MAX, b' ');
        assert!(scan(&text).is_ok());
        text.push(b' ');
        assert_eq!(error(&text), "cvr.json:1: the file is larger than 1 MiB");
    }
}
