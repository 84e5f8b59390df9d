//! What the programs of the peers in Rust share: the frames of a case, the passes over them, and the
//! answer. They are called as `PROGRAM TASK CASE FOLDER`.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is timed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Decode,
    Apply,
    Both,
}

/// A frame, and whose it is.
pub struct Frame {
    pub text: String,
    pub instrument: usize,
}

/// What this program is asked for.
pub struct Job {
    pub task: Task,
    pub case: String,
    /// What begins the books.
    pub first: Vec<Frame>,
    /// What is measured.
    pub frames: Vec<Frame>,
    /// The instruments of the frames, by their index.
    pub names: Vec<String>,
}

impl Job {
    /// Reads the command line and the frames.
    pub fn read() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().expect("TASK CASE FOLDER");
        let task = match next().as_str() {
            "decode" => Task::Decode,
            "apply" => Task::Apply,
            "both" => Task::Both,
            other => panic!("there is no task {other}"),
        };
        let (case, folder) = (next(), next());
        let mut names = Vec::new();
        let mut frames = |ending: &str| -> Vec<Frame> {
            let path = Path::new(&folder).join(format!("{case}.{ending}"));
            let text = std::fs::read_to_string(path).expect("the frames of the case");
            text.lines().map(|line| frame(&case, line, &mut names)).collect()
        };
        let (first, frames) = (frames("first.jsonl"), frames("jsonl"));
        Self { task, case, first, frames, names }
    }

    /// Leaves the case to others.
    pub fn unsupported(&self) -> ! {
        println!(r#"{{"unsupported":"it does not read {} so"}}"#, self.case);
        std::process::exit(0);
    }

    fn answer(&self, events: u64, levels: Option<u64>, nanos: u64) {
        let levels = levels.map_or_else(|| "null".to_owned(), |levels| levels.to_string());
        println!(
            r#"{{"measured":{{"frames":{},"events":{events},"levels":{levels},"nanos":{nanos}}}}}"#,
            self.frames.len()
        );
    }
}

fn frame(case: &str, text: &str, names: &mut Vec<String>) -> Frame {
    let key = match case.split('-').next() {
        Some("binance") => r#""s":""#,
        Some("okx") => r#""instId":""#,
        _ => r#""instrument_name":""#,
    };
    let (_, rest) = text.split_once(key).expect("a frame names its instrument");
    let (name, _) = rest.split_once('"').expect("a name ends");
    let known = names.iter().position(|known| known == name);
    let instrument = known.unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    Frame { text: text.to_owned(), instrument }
}

/// Takes the envelope of Binance's combined streams away, for peers that ask for single ones.
pub fn unwrap(frames: &mut [Frame]) {
    for frame in frames {
        let (_, data) = frame.text.split_once(r#""data":"#).expect("a combined stream");
        frame.text = data.strip_suffix('}').expect("an envelope ends").to_owned();
    }
}

/// Measures decoding; `decode` says how many events and levels came of a frame.
pub fn decoding(job: &Job, decode: impl Fn(&Frame) -> (u64, Option<u64>)) {
    if job.task != Task::Decode {
        job.unsupported();
    }
    let (mut events, mut levels) = (0, None);
    for frame in &job.frames {
        let (more, of_it) = decode(frame);
        events += more;
        levels = of_it.map_or(levels, |of_it| Some(levels.unwrap_or(0) + of_it));
    }
    let nanos = median(|| {
        timed(|| {
            for frame in &job.frames {
                black_box(decode(black_box(frame)));
            }
        })
    });
    job.answer(events, levels, nanos);
}

/// A peer that keeps books.
pub trait Books {
    type Update;
    type Book;

    /// Reads an update; `None` if it changes nothing.
    fn decode(&self, frame: &Frame) -> Option<Self::Update>;

    /// How many levels it has.
    fn levels(&self, update: &Self::Update) -> u64;

    /// The book that an update begins; `None` begins an empty one.
    fn begin(&self, instrument: usize, first: Option<&Self::Update>) -> Self::Book;

    /// Puts an update into a book, and looks at its best levels.
    fn apply(&self, book: &mut Self::Book, update: &Self::Update);
}

/// Measures a peer that keeps books.
pub fn books<P: Books>(job: &Job, peer: &P) {
    let updates: Vec<Option<P::Update>> =
        job.frames.iter().map(|frame| peer.decode(frame)).collect();
    let levels = updates.iter().flatten().map(|update| peer.levels(update)).sum();
    let nanos = match job.task {
        Task::Decode => median(|| {
            timed(|| {
                for frame in &job.frames {
                    black_box(peer.decode(black_box(frame)));
                }
            })
        }),
        Task::Apply => median(|| {
            let mut books = begin(job, peer);
            timed(|| {
                for (frame, update) in job.frames.iter().zip(&updates) {
                    if let Some(update) = update {
                        peer.apply(&mut books[frame.instrument], black_box(update));
                    }
                }
            })
        }),
        Task::Both => median(|| {
            let mut books = begin(job, peer);
            timed(|| {
                for frame in &job.frames {
                    if let Some(update) = peer.decode(black_box(frame)) {
                        peer.apply(&mut books[frame.instrument], &update);
                    }
                }
            })
        }),
    };
    job.answer(job.frames.len() as u64, Some(levels), nanos);
}

/// The books by instrument: the frames that begin them come first in the names, too.
fn begin<P: Books>(job: &Job, peer: &P) -> Vec<P::Book> {
    let mut books = Vec::new();
    for frame in &job.first {
        let first = peer.decode(frame);
        assert_eq!(frame.instrument, books.len(), "one snapshot for each instrument");
        books.push(peer.begin(frame.instrument, first.as_ref()));
    }
    books
}

/// Passes are made for so long before one counts, and then for so long, at least five.
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURE: Duration = Duration::from_secs(1);

/// How long something takes.
fn timed(act: impl FnOnce()) -> Duration {
    let began = Instant::now();
    act();
    began.elapsed()
}

/// Repeats a pass, which returns the time that counts, and gives the median in nanoseconds.
fn median(mut pass: impl FnMut() -> Duration) -> u64 {
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        pass();
    }
    let mut passes = Vec::new();
    let began = Instant::now();
    while passes.len() < 5 || began.elapsed() < MEASURE {
        passes.push(pass());
    }
    passes.sort_unstable();
    passes[passes.len() / 2].as_nanos() as u64
}
