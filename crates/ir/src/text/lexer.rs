//! Text to tokens with their places.

use super::ParseError;

/// One word of the text form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A bare name or number: letters, digits and `_ . / : - +`.
    Word(String),
    /// A quoted name or string, unescaped.
    Quoted(Vec<u8>),
    /// One of `{ } ( ) [ ] , = % @ *`, or a `:` that ends a name.
    Sign(char),
    /// `...` for left-out elements.
    Elided,
    /// The end of the text.
    End,
}

/// Whether a byte can stand in a name without quotes.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:-".contains(&byte)
}

/// A token with its place, both counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub token: Token,
    pub line: usize,
    pub column: usize,
}

/// All tokens, the last one [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, ParseError> {
    let mut out = Vec::new();
    let mut line = 1;
    for (index, content) in text.split('\n').enumerate() {
        line = index + 1;
        line_tokens(content.as_bytes(), line, &mut out)?;
    }
    out.push(Placed { token: Token::End, line, column: 1 });
    Ok(out)
}

fn line_tokens(bytes: &[u8], line: usize, out: &mut Vec<Placed>) -> Result<(), ParseError> {
    let mut at = 0;
    while at < bytes.len() {
        let column = at + 1;
        let byte = bytes[at];
        let token = match byte {
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'"' => {
                let (string, length) = quoted(&bytes[at..]).ok_or_else(|| ParseError {
                    line,
                    column,
                    expected: String::from("a string that ends on its line, with escapes \\\" \\\\ \\xNN"),
                    found: String::from_utf8_lossy(&bytes[at..]).into_owned(),
                })?;
                at += length;
                Token::Quoted(string)
            }
            _ if bytes[at..].starts_with(b"...") => {
                at += 3;
                Token::Elided
            }
            _ if is_name_byte(byte) && byte != b':' || byte == b'+' => {
                let mut length =
                    bytes[at..].iter().take_while(|&&byte| is_name_byte(byte) || byte == b'+').count();
                // A colon that a space follows ends the name before its type.
                if bytes[at + length - 1] == b':' {
                    length -= 1;
                }
                let word = String::from_utf8_lossy(&bytes[at..at + length]).into_owned();
                at += length;
                Token::Word(word)
            }
            b'{' | b'}' | b'(' | b')' | b'[' | b']' | b',' | b'=' | b'%' | b'@' | b'*' | b':' => {
                at += 1;
                Token::Sign(byte as char)
            }
            _ => {
                return Err(ParseError {
                    line,
                    column,
                    expected: String::from("a name, a number or one of { } ( ) [ ] , = % @ *"),
                    found: String::from_utf8_lossy(&bytes[at..]).chars().take(1).collect(),
                });
            }
        };
        out.push(Placed { token, line, column });
    }
    Ok(())
}

/// The unescaped content of a quoted string and its length with quotes.
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some((out, at + 1)),
            b'\\' => match *bytes.get(at + 1)? {
                b'x' => {
                    let digits = std::str::from_utf8(bytes.get(at + 2..at + 4)?).ok()?;
                    out.push(u8::from_str_radix(digits, 16).ok()?);
                    at += 4;
                }
                escaped @ (b'"' | b'\\') => {
                    out.push(escaped);
                    at += 2;
                }
                _ => return None,
            },
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
}
