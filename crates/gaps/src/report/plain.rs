//! Text of frameworks made plain: without what steers a terminal, on one line where it has to be, and not too long.

/// What stands in the place of a character that cannot be shown.
const UNSHOWN: char = '\u{fffd}';

/// The text without escape sequences and control characters; of a line that overwrites itself, its last state.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut line = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                out.push_str(&line);
                out.push('\n');
                line.clear();
            }
            '\r' if matches!(chars.peek(), Some('\n') | None) => {}
            '\r' => line.clear(),
            '\t' => line.push('\t'),
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with a letter or one of a few signs.
                while chars.next_if(|&c| matches!(c, ' '..='?')).is_some() {}
                chars.next_if(|&c| matches!(c, '@'..='~'));
            }
            c if is_unshown(c) => line.push(UNSHOWN),
            c => line.push(c),
        }
    }
    out.push_str(&line);
    out
}

/// Controls, and marks that reorder the text after them.
fn is_unshown(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text on one line of at most so many characters, an ellipsis among them where something is left out.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let words: Vec<String> = clean(text).split_whitespace().map(str::to_owned).collect();
    let line = words.join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Which end of a long text says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// The first lines, as of an error.
    Start,
    /// The last lines, as of a log.
    End,
}

/// The clean text, of about so many characters at most. A line in its place says how much is left out.
pub(super) fn clipped(text: &str, most: usize, keep: Keep) -> String {
    let text = clean(text);
    let text = text.trim_matches('\n').trim_end();
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let note = format!("[{} of {count} characters are left out here; gaps.json has them]", count - most);
    match keep {
        Keep::Start => {
            let kept: String = text.chars().take(most).collect();
            format!("{kept}\n{note}")
        }
        Keep::End => {
            let kept: String = text.chars().skip(count - most).collect();
            format!("{note}\n{kept}")
        }
    }
}

/// `1 gap`, `2 gaps`.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", calipers_inspect::number::count(number), if number == 1 { one } else { many })
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Keep, clean, clipped, counted, listed, one_line};

    #[test]
    fn what_steers_a_terminal_is_gone() {
        assert_eq!(clean("\u{1b}[1;31mred\u{1b}[0m\u{7}"), "red\u{fffd}");
        assert_eq!(clean("10 %\r50 %\rdone\r\nnext\r"), "done\nnext");
        assert_eq!(clean("a\u{202e}b\u{1b}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(clean("\u{1b}[31"), "");
    }

    #[test]
    fn long_text_says_what_is_left_out() {
        assert_eq!(one_line(" a\n b\tc ", 10), "a b c");
        assert_eq!(one_line("abcdef", 4), "abc…");
        assert_eq!(clipped("ab\ncd", 5, Keep::Start), "ab\ncd");
        let note = "[4 of 6 characters are left out here; gaps.json has them]";
        assert_eq!(clipped("éééééé", 2, Keep::Start), format!("éé\n{note}"));
        assert_eq!(clipped("abcdef", 2, Keep::End), format!("{note}\nef"));
    }

    #[test]
    fn numbers_and_lists_are_words() {
        assert_eq!(counted(1, "gap", "gaps"), "1 gap");
        assert_eq!(counted(1200, "gap", "gaps"), "1,200 gaps");
        assert_eq!(listed(&["a", "b", "c"].map(str::to_owned)), "a, b and c");
    }
}
