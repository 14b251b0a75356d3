//! The answering side of the protocol, for a worker that is written in Rust.

use std::io::{self, BufRead, Write};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::read_lines;
use crate::protocol::{Answer, AnswerBody, Failure, Progress, Question, Reply, Request, Stage};

/// At most this often is progress within one stage written.
const PAUSE: Duration = Duration::from_millis(100);

/// Carries out requests. The reply comes from [`Command::answer`](crate::Command::answer).
///
/// [`Request::Shutdown`] never arrives here: the loop answers it and ends.
pub type Handler<'a> = dyn FnMut(Request, &mut Reporter<'_>) -> Result<Reply, Failure> + 'a;

/// Writes the progress of the command that is being carried out.
pub struct Reporter<'a> {
    output: &'a mut dyn Write,
    id: u64,
    last: Option<(Stage, Instant)>,
}

impl Reporter<'_> {
    /// Says how far the command is: the first and last step of each stage, and in between at most ten steps a second.
    pub fn report(&mut self, stage: Stage, done: u64, total: Option<u64>, detail: Option<&str>) {
        let now = Instant::now();
        let finished = total == Some(done);
        let due = self
            .last
            .is_none_or(|(last_stage, last)| last_stage != stage || now.duration_since(last) >= PAUSE);
        if finished || due {
            self.last = Some((stage, now));
            let progress = Progress { stage, done, total, detail: detail.map(str::to_owned) };
            // A closed output also ends the input, which is where the loop notices.
            let _ = write(self.output, &Answer { id: Some(self.id), body: AnswerBody::Progress(progress) });
        }
    }
}

/// Answers the requests of `input` on `output`, in order, until [`Request::Shutdown`] or the end of the input.
///
/// # Errors
/// Only those of reading and writing; a line that is not a request is answered with a failure.
pub fn serve(input: impl BufRead, mut output: impl Write, handler: &mut Handler<'_>) -> io::Result<()> {
    for line in input.split(b'\n') {
        if !answer(&line?, &mut output, handler)? {
            break;
        }
    }
    Ok(())
}

/// As [`serve`] on this process's standard input and output. Where the process that asks has died, this one exits at
/// once, in the middle of a command too, so that it never outlives it.
///
/// # Errors
/// Those of writing.
pub fn serve_standard_streams(handler: &mut Handler<'_>) -> io::Result<()> {
    let (sender, lines) = channel();
    #[cfg(unix)]
    let asker = std::os::unix::process::parent_id();
    thread::spawn(move || {
        read_lines(io::stdin(), |line| sender.send(line).is_ok());
        drop(sender);
        // The input of a dead asker ends a moment before its children get another parent.
        #[cfg(unix)]
        while std::os::unix::process::parent_id() == asker {
            thread::sleep(PAUSE);
        }
        #[cfg(unix)]
        std::process::exit(1);
    });
    serve_lines(&lines, io::stdout(), handler)
}

fn serve_lines(
    lines: &Receiver<Vec<u8>>,
    mut output: impl Write,
    handler: &mut Handler<'_>,
) -> io::Result<()> {
    for line in lines {
        if !answer(&line, &mut output, handler)? {
            break;
        }
    }
    Ok(())
}

/// Answers one line; false after a shutdown.
fn answer(line: &[u8], output: &mut dyn Write, handler: &mut Handler<'_>) -> io::Result<bool> {
    if line.trim_ascii().is_empty() {
        return Ok(true);
    }
    let question: Question = match serde_json::from_slice(line) {
        Ok(question) => question,
        Err(error) => {
            let failure = Failure::new(Stage::Start, "BadRequest", error);
            write(output, &Answer { id: id_of(line), body: AnswerBody::Error(failure) })?;
            return Ok(true);
        }
    };
    let id = question.id;
    let ends = matches!(question.request, Request::Shutdown(_));
    let result = if ends {
        Ok(Reply(serde_json::json!({})))
    } else {
        handler(question.request, &mut Reporter { output, id, last: None })
    };
    let body = match result {
        Ok(Reply(value)) => AnswerBody::Result { value },
        Err(failure) => AnswerBody::Error(failure),
    };
    write(output, &Answer { id: Some(id), body })?;
    Ok(!ends)
}

/// The number of a request that is wrong in some other part.
fn id_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(line).ok()?.get("id")?.as_u64()
}

fn write(output: &mut dyn Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Command, Evaluated, Greeting};

    fn answers(input: &str) -> Vec<Answer> {
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output, &mut |request, reporter| match request {
            Request::Hello(hello) => hello.answer(&Greeting {
                framework: "calipers".into(),
                versions: [("calipers".to_owned(), "0.1.0".to_owned())].into(),
                python: None,
                threads: hello.threads,
                pid: 1,
                devices: Vec::new(),
            }),
            Request::Evaluate(evaluate) => {
                for done in 0..=1000 {
                    reporter.report(Stage::Evaluate, done, Some(1000), None);
                }
                evaluate.answer(&Evaluated { seconds: 0.5 })
            }
            other => Err(Failure::new(Stage::Start, "Unsupported", format!("{other:?}"))),
        })
        .expect("serves");
        output
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("is an answer"))
            .collect()
    }

    #[test]
    fn answers_in_order_and_survives_bad_lines() {
        let found = answers(concat!(
            "{\"id\": 1, \"command\": \"hello\", \"threads\": 2}\n",
            "nonsense\n\n",
            "{\"id\": 2, \"command\": \"bake\"}\n",
            "{\"id\": 3, \"command\": \"unload\", \"handle\": 5}\n",
            "{\"id\": 4, \"command\": \"shutdown\"}\n",
            "{\"id\": 5, \"command\": \"hello\", \"threads\": 2}\n",
        ));
        let ids: Vec<Option<u64>> = found.iter().map(|answer| answer.id).collect();
        assert_eq!(ids, [Some(1), None, Some(2), Some(3), Some(4)]);
        let AnswerBody::Result { value } = &found[0].body else { panic!("{found:?}") };
        assert_eq!(value["threads"], 2);
        let AnswerBody::Error(failure) = &found[2].body else { panic!("{found:?}") };
        assert!(failure.message.contains("bake"), "{failure:?}");
        assert!(matches!(found[3].body, AnswerBody::Error(_)));
        assert!(matches!(found[4].body, AnswerBody::Result { .. }));
    }

    #[test]
    fn progress_is_throttled_but_the_first_and_last_are_kept() {
        let found = answers(
            "{\"id\": 1, \"command\": \"evaluate\", \"handle\": 1, \"data\": \"d\", \"batch\": 1, \"output\": \"o\"}\n",
        );
        let steps: Vec<u64> = found
            .iter()
            .filter_map(|answer| match &answer.body {
                AnswerBody::Progress(progress) => Some(progress.done),
                AnswerBody::Result { .. } | AnswerBody::Error(_) => None,
            })
            .collect();
        assert_eq!((steps.first(), steps.last()), (Some(&0), Some(&1000)));
        assert!(steps.len() < 100, "{} answers", steps.len());
        assert!(matches!(found.last().map(|answer| &answer.body), Some(AnswerBody::Result { .. })));
    }
}
