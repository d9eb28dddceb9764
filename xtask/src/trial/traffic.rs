//! What callers say to a server, and what has to come back. Pure.

/// How many of what, how long, how much of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) connections: usize,
    /// How long a message is, in bytes, with whatever delimits it.
    pub(crate) size: usize,
    /// How many messages are sent together; the next go out when all of these are answered.
    pub(crate) depth: usize,
    pub(crate) wording: Wording,
    /// Each exchange has a connection to itself.
    pub(crate) churns: bool,
}

/// How a message is worded. The answer is always as long as the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// Small letters, which come back as capitals.
    Raw,
    /// The same, with a line feed at the end.
    Line,
    /// `PING` with a text, which a Redis server sends back behind its length.
    Ping,
}

impl Traffic {
    /// How long a message is unless something else is to be shown.
    pub(crate) const USUAL_SIZE: usize = 64;

    /// One message in flight on each connection.
    pub(crate) const fn ping_pong(connections: usize) -> Self {
        let (size, depth, wording) = (Self::USUAL_SIZE, 1, Wording::Raw);
        Self { connections, size, depth, wording, churns: false }
    }

    /// As the words that `parse` understands.
    pub(crate) fn words(&self) -> [String; 5] {
        let wording = match self.wording {
            Wording::Raw => "raw",
            Wording::Line => "line",
            Wording::Ping => "ping",
        };
        let life = if self.churns { "churn" } else { "stay" };
        let [connections, size, depth] = [self.connections, self.size, self.depth].map(|n| n.to_string());
        [connections, size, depth, wording.to_owned(), life.to_owned()]
    }

    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let [connections, size, depth, wording, life] = words else { return None };
        let wording = match *wording {
            "raw" => Wording::Raw,
            "line" => Wording::Line,
            "ping" => Wording::Ping,
            _ => return None,
        };
        let churns = match *life {
            "churn" => true,
            "stay" => false,
            _ => return None,
        };
        let [connections, size, depth] = [connections, size, depth].map(|word| word.parse().ok());
        Some(Self { connections: connections?, size: size?, depth: depth?, wording, churns })
            .filter(|traffic| traffic.size >= SHORTEST && traffic.depth > 0 && traffic.connections > 0)
    }
}

/// The bytes of a mark: who says it, and the how many-th message it is.
const MARK: usize = 24;
/// Room for a mark and for the longest that goes around it.
const SHORTEST: usize = 40;

/// The messages that are sent together, and what has to come back: written once, and marked for each use.
#[derive(Debug)]
pub(crate) struct Burst {
    pub(crate) questions: Vec<u8>,
    pub(crate) answers: Vec<u8>,
    /// How long one message is, and where in a question and in its answer the mark stands.
    size: usize,
    marks: [usize; 2],
    answered_in_capitals: bool,
}

impl Burst {
    pub(crate) fn new(traffic: &Traffic) -> Self {
        let size = traffic.size;
        let (before_question, before_answer, end) = match traffic.wording {
            Wording::Raw => (String::new(), String::new(), ""),
            Wording::Line => (String::new(), String::new(), "\n"),
            Wording::Ping => {
                let text = size - "PING \r\n".len();
                ("PING ".to_owned(), format!("${text}\r\n"), "\r\n")
            }
        };
        let in_capitals = traffic.wording != Wording::Ping;
        let fill = if in_capitals { b'X' } else { b'x' };
        let one = |before: &str, fill: u8, size: usize| {
            let mut message = before.as_bytes().to_vec();
            message.resize(size - end.len(), fill);
            message.extend(end.bytes());
            message
        };
        // What Redis says of the length makes its answer a little longer or shorter.
        let text = size - before_question.len() - end.len();
        let question = one(&before_question, b'x', size);
        let answer = one(&before_answer, fill, before_answer.len() + text + end.len());
        Self {
            questions: question.repeat(traffic.depth),
            answers: answer.repeat(traffic.depth),
            size,
            marks: [before_question.len(), before_answer.len()],
            answered_in_capitals: in_capitals,
        }
    }

    /// What a connection asks when it has asked so many messages before.
    pub(crate) fn asked(&mut self, connection: u32, before: u64) -> &[u8] {
        for (message, sequence) in self.questions.chunks_exact_mut(self.size).zip(before..) {
            message[self.marks[0]..][..MARK].copy_from_slice(&mark(connection, sequence));
        }
        &self.questions
    }

    /// What has to come back for that.
    pub(crate) fn answered(&mut self, connection: u32, before: u64) -> &[u8] {
        let size = self.answers.len() / (self.questions.len() / self.size);
        for (message, sequence) in self.answers.chunks_exact_mut(size).zip(before..) {
            let mut mark = mark(connection, sequence);
            if self.answered_in_capitals {
                mark.make_ascii_uppercase();
            }
            message[self.marks[1]..][..MARK].copy_from_slice(&mark);
        }
        &self.answers
    }
}

/// Small letters that no other connection has, and this one only once.
fn mark(connection: u32, sequence: u64) -> [u8; MARK] {
    let mut mark = [0; MARK];
    let numbers = [connection.into(), sequence >> 32, sequence];
    for (place, number) in mark.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&letters(number));
    }
    mark
}

/// A letter for each half byte of the lower four bytes, in a few steps: the callers must not be what is slow.
fn letters(number: u64) -> [u8; 8] {
    let mut spread = number & u64::from(u32::MAX);
    spread = (spread | spread << 16) & 0x0000_FFFF_0000_FFFF;
    spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
    spread = (spread | spread << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    (spread + u64::from_be_bytes([b'a'; 8])).to_be_bytes()
}

#[test]
fn no_two_messages_are_the_same_and_all_are_changed_by_upper_case() {
    let marks = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 16), (0, 1 << 32), (u32::MAX, 1)];
    let marks = marks.map(|(connection, sequence)| mark(connection, sequence));
    for (place, mark) in marks.iter().enumerate() {
        assert!(mark.iter().all(u8::is_ascii_lowercase));
        assert!(marks[..place].iter().all(|other| other != mark));
    }
    assert_eq!(letters(0x0123_CDEF), *b"abcdmnop");
}

#[test]
fn each_message_of_a_burst_has_its_own_answer() {
    let traffic = Traffic { depth: 3, wording: Wording::Line, ..Traffic::ping_pong(1) };
    let mut burst = Burst::new(&traffic);
    let asked = burst.asked(7, 100).to_vec();
    assert_eq!(asked.len(), 3 * Traffic::USUAL_SIZE);
    assert_eq!(burst.answered(7, 100), asked.to_ascii_uppercase());
    let lines: Vec<_> = asked.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() == 3 && lines[0] != lines[1] && lines[1] != lines[2]);
}

#[test]
fn a_ping_comes_back_behind_its_length() {
    let mut burst = Burst::new(&Traffic { wording: Wording::Ping, ..Traffic::ping_pong(1) });
    let asked = String::from_utf8(burst.asked(1, 2).to_vec()).unwrap();
    let text = asked.strip_prefix("PING ").and_then(|rest| rest.strip_suffix("\r\n")).unwrap();
    assert_eq!(burst.answered(1, 2), format!("$57\r\n{text}\r\n").as_bytes());
    assert_eq!(asked.len(), 64);
}

#[test]
fn traffic_is_understood_from_its_own_words_and_nonsense_is_not() {
    let traffic = Traffic { connections: 3, size: 64 << 10, depth: 5, wording: Wording::Line, churns: true };
    let words = traffic.words();
    assert_eq!(Traffic::parse(&words.each_ref().map(String::as_str)), Some(traffic));
    for nonsense in ["", "1 64 1 raw", "0 64 1 raw stay", "1 8 1 raw stay", "1 64 1 loud stay"] {
        assert_eq!(Traffic::parse(&nonsense.split(' ').collect::<Vec<_>>()), None, "{nonsense}");
    }
}
