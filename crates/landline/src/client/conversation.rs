//! A conversation: a message out, its answer back.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::TlsFailure;
use super::stream::Stream;
use super::{Cutter, Options, lost, speaks_tls};
use crate::address::Address;
use crate::error::{Error, Kind, describe};
use crate::frame::{Cut, FrameError};

/// How much room there is for one read.
const READ_SIZE: usize = 16 * 1024;

/// How far what came before the question was sent may exceed the longest answer: delimiters take up room too.
const SLACK: usize = READ_SIZE;

/// One connection, and a conversation on it that takes turns: [`ask`](Self::ask), and the answer comes back.
#[derive(Debug)]
pub struct Conversation {
    stream: Stream,
    /// The address as it was written, for errors.
    peer: Address,
    options: Options,
    cutter: Cutter,
    held: BytesMut,
    answer_ending: Bytes,
    /// A question went out, wholly or in part, and its answer did not come.
    unanswered: bool,
    /// Nothing was answered yet, and what comes may be the alert of a server that speaks TLS.
    may_be_tls: bool,
}

impl Conversation {
    /// Connects with the defaults of [`Options::new`]: one line out, one line back.
    ///
    /// # Errors
    /// See [`Connector::connect`](super::Connector::connect), and whatever is wrong with the address itself
    /// ([`is_config`](Error::is_config)).
    ///
    /// # Cancel safety
    /// As [`Connector::connect`](super::Connector::connect).
    pub async fn connect<A>(address: A) -> Result<Self, Error>
    where
        A: TryInto<Address>,
        A::Error: Into<Error>,
    {
        Options::new().converse(address).await
    }

    pub(super) fn new(stream: Stream, peer: Address, options: &Options) -> Self {
        Self {
            may_be_tls: stream.tls_version().is_none(),
            stream,
            peer,
            cutter: options.cutter(),
            options: options.clone(),
            held: BytesMut::new(),
            answer_ending: Bytes::new(),
            unanswered: false,
        }
    }

    /// Sends one message and returns the answer, without its delimiters.
    ///
    /// The message goes out as it is; in `line` framing one that holds a line feed is therefore several to
    /// the server. What the server says before the message is sent counts as the answer when the message
    /// could be sent, since nothing tells the two apart. There is no time limit: wrap the call in
    /// [`tokio::time::timeout`].
    ///
    /// # Errors
    /// [`is_lost`](Error::is_lost) when the connection was reset or closed before the answer was complete;
    /// what came of it is in [`unfinished`](Self::unfinished). In `line` framing, what came before a close is
    /// the answer, ended or not. [`is_framing`](Error::is_framing) when the answer is longer than the limit,
    /// or the message is longer than its framing can say. After an error the client is of no use: connect
    /// again.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of the message may be out. A client whose `ask` was dropped stays in order but
    /// every later `ask` is an error, [`is_lost`](Error::is_lost): otherwise each would get the answer of the
    /// one before it.
    pub async fn ask(&mut self, message: &[u8]) -> Result<Bytes, Error> {
        if self.unanswered {
            let cause = "an earlier message has no answer yet, so this one could get the wrong one";
            return Err(Error::new(Kind::Lost, format!("cannot ask {}", self.peer), cause));
        }
        let question = self.options.encode(&self.peer, message)?;
        self.unanswered = true;
        self.send(&question).await?;
        let answer = loop {
            self.look_for_tls()?;
            if let Some(cut) = self.next_message()? {
                break cut;
            }
            if self.read().await? == 0 {
                break self.last_message()?;
            }
        };
        self.unanswered = false;
        self.may_be_tls = false;
        Ok(answer)
    }

    /// What came of an answer that is not complete: bytes as they came, delimiters included. Empty after an
    /// [`ask`](Self::ask) that was answered, unless the server said more than it was asked.
    pub fn unfinished(&self) -> &[u8] {
        &self.held
    }

    /// What ended the last answer: the bytes behind it that are no part of it.
    pub fn answer_ending(&self) -> &[u8] {
        &self.answer_ending
    }

    /// Gives up the conversation: its stream, and what came on it and was no answer yet.
    pub fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.held.freeze())
    }

    /// Writes, and reads meanwhile: a server that answers a long message piece by piece takes no more of it
    /// while nobody takes its answer.
    async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let held_max = self.options.max_message.saturating_add(SLACK);
        match write_reading(&mut self.stream, message, &mut self.held, held_max).await {
            Ok(Sent::Whole) => Ok(()),
            Ok(Sent::HeldTooMuch) => {
                Err(self.framing_error(FrameError::TooLong { limit: self.options.max_message }))
            }
            Err(error) => Err(self.cut_off(&error).await),
        }
    }

    /// The error for a message that could not be sent, once everything that the server said before is in.
    async fn cut_off(&mut self, cause: &io::Error) -> Error {
        while self.held.len() <= self.options.max_message.saturating_add(SLACK) {
            match self.read().await {
                Ok(1..) => {}
                Err(error) if error.is_tls() => return error,
                Ok(0) | Err(_) => break,
            }
        }
        if let Err(error) = self.look_for_tls() {
            return error;
        }
        Error::new(Kind::Lost, format!("the message to {} was not sent whole", self.peer), words(cause))
    }

    /// Whether what came is not an answer, but says that TLS is spoken there.
    fn look_for_tls(&mut self) -> Result<(), Error> {
        match speaks_tls(&self.peer, &self.held) {
            Some(error) if self.may_be_tls => {
                // Nobody wants to see it.
                self.held.clear();
                Err(error)
            }
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> Result<usize, Error> {
        self.held.reserve(READ_SIZE);
        let read = self.stream.read_buf(&mut self.held).await;
        read.map_err(|cause| match TlsFailure::of(&cause) {
            Some(TlsFailure::Refused { .. }) => lost(&self.peer, cause),
            _ => Error::io(Kind::Lost, self.no_answer(), cause),
        })
    }

    fn next_message(&mut self) -> Result<Option<Bytes>, Error> {
        match self.cutter.next(&self.held) {
            Ok(Cut::More { .. }) => Ok(None),
            Ok(cut) => Ok(self.take(cut)),
            Err(error) => Err(self.framing_error(error)),
        }
    }

    /// What counts as the answer when the server has closed.
    fn last_message(&mut self) -> Result<Bytes, Error> {
        let cut = self.cutter.finish(&self.held).ok().flatten();
        cut.and_then(|cut| self.take(cut))
            .ok_or_else(|| Error::new(Kind::Lost, self.no_answer(), "the server closed the connection"))
    }

    fn take(&mut self, cut: Cut) -> Option<Bytes> {
        let Cut::Message { body, end, .. } = cut else { return None };
        let message = self.held.split_to(end).freeze();
        self.answer_ending = message.slice(body.end..);
        Some(message.slice(body))
    }

    fn no_answer(&self) -> String {
        let which = if self.held.is_empty() { "no answer" } else { "half an answer" };
        format!("{which} from {}", self.peer)
    }

    fn framing_error(&self, error: FrameError) -> Error {
        Error::new(Kind::Framing, format!("cannot read the answer of {}", self.peer), error.to_string())
    }
}

/// How a message went.
enum Sent {
    Whole,
    /// The server says so much that no answer may be as long.
    HeldTooMuch,
}

/// Writes all of `unsent`, and puts what comes meanwhile into `held`.
async fn write_reading<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    mut unsent: &[u8],
    held: &mut BytesMut,
    held_max: usize,
) -> io::Result<Sent> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut reading = true;
    loop {
        if held.len() > held_max {
            return Ok(Sent::HeldTooMuch);
        }
        held.reserve(READ_SIZE);
        tokio::select! {
            read = reader.read_buf(held), if reading => reading = matches!(read, Ok(1..)),
            written = write_or_flush(&mut writer, unsent) => match written? {
                Some(count) => unsent = &unsent[count..],
                None => return Ok(Sent::Whole),
            },
        }
    }
}

/// Writes some of `unsent`; with nothing left, has it all go out (`None`): TLS may hold back what it has
/// taken.
pub(super) async fn write_or_flush(
    writer: &mut (impl AsyncWrite + Unpin),
    unsent: &[u8],
) -> io::Result<Option<usize>> {
    if unsent.is_empty() {
        writer.flush().await?;
        return Ok(None);
    }
    writer.write(unsent).await.map(Some)
}

/// A broken pipe is a word for pipes; here, the other end has closed.
fn words(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::BrokenPipe => "the server closed the connection".to_owned(),
        _ => describe(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Framing;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream as Blocking};
    use std::thread::JoinHandle;

    /// A client, and a server that does `serve` with its only connection, in a thread.
    async fn pair<T: Send + 'static>(
        options: Options,
        serve: impl FnOnce(Blocking) -> T + Send + 'static,
    ) -> (Conversation, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || serve(listener.accept().unwrap().0));
        (options.converse(address).await.unwrap(), server)
    }

    fn read_exactly(mut stream: &Blocking, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn reset(stream: Blocking) {
        let socket = socket2::Socket::from(stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    #[tokio::test]
    async fn each_line_gets_its_answer_even_when_two_answers_come_at_once() {
        let (mut client, server) = pair(Options::new(), |mut stream| {
            assert_eq!(read_exactly(&stream, 4), b"one\n");
            stream.write_all(b"ONE\r\nTW").unwrap();
            assert_eq!(read_exactly(&stream, 4), b"two\n");
            stream.write_all(b"O\n").unwrap();
        })
        .await;
        assert_eq!(client.ask(b"one").await.unwrap(), "ONE");
        assert_eq!(client.answer_ending(), b"\r\n");
        assert_eq!(client.ask(b"two").await.unwrap(), "TWO");
        assert!(client.unfinished().is_empty());
        server.join().unwrap();
    }

    #[tokio::test]
    async fn a_length_prefixed_message_goes_out_and_comes_back_whole() {
        let (mut client, _) = pair(Options::new().framing(Framing::Length), |mut stream| {
            assert_eq!(read_exactly(&stream, 7), b"\0\0\0\x03a\nb");
            stream.write_all(b"\0\0\0\x02").unwrap();
            stream.write_all(b"\n\n").unwrap();
        })
        .await;
        assert_eq!(client.ask(b"a\nb").await.unwrap(), "\n\n");
    }

    #[tokio::test]
    async fn half_an_answer_and_a_reset_is_a_lost_connection_and_the_half_is_kept() {
        let (mut client, _) = pair(Options::new(), |mut stream| {
            read_exactly(&stream, 3);
            stream.write_all(b"HAL").unwrap();
            reset(stream);
        })
        .await;
        let error = client.ask(b"hi").await.unwrap_err();
        assert!(error.is_lost() && error.to_string().contains("connection reset by peer"), "{error}");
        assert_eq!(client.unfinished(), b"HAL");
    }

    #[tokio::test]
    async fn a_close_ends_the_last_line_but_no_length_prefixed_message() {
        let (mut client, _) = pair(Options::new(), |mut stream| {
            read_exactly(&stream, 3);
            stream.write_all(b"HI").unwrap();
        })
        .await;
        assert_eq!(client.ask(b"hi").await.unwrap(), "HI");
        assert_eq!(client.answer_ending(), b"");

        let (mut client, _) = pair(Options::new().framing(Framing::Length), |mut stream| {
            read_exactly(&stream, 6);
            stream.write_all(b"\0\0\0\x09HI").unwrap();
        })
        .await;
        let error = client.ask(b"hi").await.unwrap_err();
        assert!(
            error.is_lost() && error.to_string().starts_with("half an answer from 127.0.0.1:"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_close_without_an_answer_is_a_lost_connection() {
        let (mut client, _) = pair(Options::new(), |stream| {
            read_exactly(&stream, 3);
            stream.shutdown(Shutdown::Both).unwrap();
        })
        .await;
        let error = client.ask(b"hi").await.unwrap_err();
        assert!(
            error.is_lost() && error.to_string().ends_with("the server closed the connection"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_refused_before_it_is_held() {
        let (mut client, server) = pair(Options::new().max_message(8), |mut stream| {
            read_exactly(&stream, 3);
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        })
        .await;
        assert!(client.ask(b"hi").await.unwrap_err().is_framing());
        assert!(client.unfinished().len() <= 8 + SLACK + READ_SIZE);
        drop(client);
        server.join().unwrap();
    }

    #[tokio::test]
    async fn a_long_message_passes_a_server_that_answers_it_piece_by_piece() {
        const LEN: usize = 8 << 20;
        let (mut client, _) = pair(Options::new().max_message(LEN), |mut stream| {
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                piece.make_ascii_uppercase();
                stream.write_all(&piece[..count]).unwrap();
            }
        })
        .await;
        let answer = client.ask(&vec![b'a'; LEN]).await.unwrap();
        assert!(answer.len() == LEN && answer.iter().all(|byte| *byte == b'A'));
    }

    #[tokio::test]
    async fn after_an_ask_that_was_dropped_no_later_one_gets_its_answer() {
        let (mut client, _server) = pair(Options::new(), |stream| read_exactly(&stream, 9)).await;
        tokio::time::timeout(std::time::Duration::from_millis(1), client.ask(b"hi")).await.unwrap_err();
        assert!(client.ask(b"again").await.unwrap_err().is_lost());
    }
}
