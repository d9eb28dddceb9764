//! Clients that many tasks ask at once, with servers that are nothing but sockets.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use landline::client::{Backoff, Client, Options};
use landline::{Error, Framing};
use tokio::task::JoinSet;

use crate::support::PATIENCE;

/// Does `serve` with each of so many callers in turn, in a thread; what it returns are its results.
fn server<T: Send + 'static>(
    callers: usize,
    mut serve: impl FnMut(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let accepted = listener.incoming().take(callers);
        accepted.map(|stream| serve(patient(stream.unwrap()))).collect()
    });
    (address, thread)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads so many lines.
fn hear(stream: &TcpStream, lines: usize) -> Vec<String> {
    let mut heard = Vec::new();
    let mut reader = BufReader::with_capacity(1, stream);
    for _ in 0..lines {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        heard.push(line.trim_end().to_owned());
    }
    heard
}

/// Answers line by line in upper case, until the caller has ended.
fn upper(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    for line in BufReader::new(stream).lines() {
        // Whoever hears no answer has left.
        let _ = line.and_then(|line| writeln!(writer, "{}", line.to_uppercase()));
    }
}

/// What a server returned; the client's task goes on meanwhile, and closes its connection.
async fn end<T: Send + 'static>(thread: JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
}

fn at_once() -> Options {
    // Nobody waits in a test.
    Options::new().reconnect(Some(Backoff::new(Duration::ZERO, Duration::ZERO)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_tasks_gets_the_answer_to_what_it_asked() {
    let (address, thread) = server(1, upper);
    let client = Client::connect(address).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..64 {
        let client = client.clone();
        tasks.spawn(async move {
            for at in 0..50 {
                let answer = client.ask(format!("task {task} asks {at}")).await.unwrap();
                assert_eq!(answer, format!("TASK {task} ASKS {at}"));
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(client);
    end(thread).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_that_was_given_up_at_any_moment_shifts_nobody_elses_answer() {
    let (address, thread) = server(1, upper);
    let client = Options::new().in_flight_max(16).connect(address).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..32_u32 {
        let client = client.clone();
        tasks.spawn(async move {
            let mut answered = 0;
            for at in 0..100_u32 {
                let message = format!("{task} {at} {}", "x".repeat((at * 37 % 300) as usize));
                // Gives up after a number of turns that is another one each time.
                let turns = (task * 31 + at * 17) % 12;
                let patience = async {
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    answer = client.ask(&message) => {
                        assert_eq!(answer.unwrap(), message.to_uppercase());
                        answered += 1;
                    }
                    () = patience => {}
                }
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task.unwrap();
    }
    assert!(answered < 3200, "some were given up");
    assert_eq!(client.ask("the last").await.unwrap(), "THE LAST");
    assert_eq!(client.waiting(), 0);
    drop(client);
    end(thread).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_was_marked_as_idempotent_is_ever_sent_twice() {
    const CALLERS: usize = 24;
    // Hears some lines, answers fewer, and is gone; the last one stays.
    let mut caller = 0;
    let (address, thread) = server(CALLERS, move |stream| {
        caller += 1;
        if caller == CALLERS {
            let heard = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut writer = stream;
            return heard.map_while(Result::ok).inspect(|line| writeln!(writer, "{line}").unwrap()).collect();
        }
        let heard = hear(&stream, 1 + caller % 3);
        for line in &heard[..caller % 2] {
            writeln!(&stream, "{line}").unwrap();
        }
        heard
    });
    let client = at_once().attempts_max(100).connect(address).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let client = client.clone();
        tasks.spawn(async move {
            for at in 0..20 {
                let once = client.ask(format!("once {task} {at}")).await;
                if let Err(error) = &once {
                    assert!(error.is_lost() && !error.is_unsent(), "{error}");
                }
                let message = format!("again {task} {at}");
                assert_eq!(client.ask_idempotent(&message).await.unwrap(), message);
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    drop(client);
    let mut times: HashMap<String, usize> = HashMap::new();
    for line in end(thread).await.into_iter().flatten() {
        *times.entry(line).or_default() += 1;
    }
    assert!(times.iter().all(|(line, times)| *times == 1 || line.starts_with("again ")), "{times:?}");
    assert!(times.values().any(|times| *times > 1), "some were sent again");
}

#[tokio::test]
async fn each_ask_that_a_reset_leaves_without_an_answer_gets_one_error_and_the_next_ask_connects_again() {
    let mut callers = 0;
    let (address, thread) = server(2, move |stream| {
        callers += 1;
        if callers == 2 {
            return upper(stream);
        }
        hear(&stream, 3);
        (&stream).write_all(b"ONE\nTW").unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let client = at_once().connect(address).await.unwrap();
    let (one, two, three) = tokio::join!(client.ask("one"), client.ask("two"), client.ask("three"));
    assert_eq!(one.unwrap(), "ONE");
    let words = |which| format!("{which} from {address}: connection reset by peer");
    let [two, three] = [two, three].map(|lost: Result<_, Error>| lost.unwrap_err());
    assert!(two.is_lost() && three.is_lost() && !two.is_unsent() && !three.is_unsent());
    assert_eq!([two.to_string(), three.to_string()], [words("half an answer"), words("no answer")]);
    assert_eq!(client.ask("four").await.unwrap(), "FOUR");
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn a_line_that_a_close_ends_is_an_answer_and_what_follows_is_lost() {
    let (address, thread) = server(1, |stream| {
        hear(&stream, 2);
        (&stream).write_all(b"no ending").unwrap();
    });
    let client = Client::connect(address).await.unwrap();
    let (one, two) = tokio::join!(client.ask("one"), client.ask("two"));
    assert_eq!(one.unwrap(), "no ending");
    assert!(two.unwrap_err().to_string().ends_with(": the server closed the connection"));
    end(thread).await;
}

#[tokio::test]
async fn without_a_server_everybody_who_waits_is_told_so_and_with_one_again_it_goes_on() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    assert!(at_once().connect(address).await.unwrap_err().is_refused());

    let client = at_once().connect_later(address.into());
    let (one, two) = tokio::join!(client.ask("one"), client.ask_idempotent("two"));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(error.is_refused() && error.is_unsent(), "{error}");
        assert_eq!(error.to_string(), format!("cannot connect to {address}: connection refused"));
    }
    assert!(!client.is_connected());
    socket.listen(8).unwrap();
    let listener = TcpListener::from(socket);
    let thread = std::thread::spawn(move || upper(patient(listener.accept().unwrap().0)));
    assert_eq!(client.ask("three").await.unwrap(), "THREE");
    assert!(client.is_connected());
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn what_nobody_asked_for_is_nobodys_answer() {
    let mut callers = 0;
    let (address, thread) = server(2, move |stream| {
        callers += 1;
        if callers == 1 {
            // One more than was asked for; then it waits to be left.
            hear(&stream, 1);
            (&stream).write_all(b"ONE\nnews for all\n").unwrap();
            (&stream).read_to_end(&mut Vec::new()).unwrap();
            return;
        }
        upper(stream);
    });
    let client = at_once().connect(address).await.unwrap();
    assert_eq!(client.ask("one").await.unwrap(), "ONE");
    assert_eq!(client.ask("two").await.unwrap(), "TWO");
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn a_greeting_that_was_announced_is_waited_for_and_is_no_answer() {
    let (address, thread) = server(1, |stream| {
        (&stream).write_all(b"220 hello\n").unwrap();
        upper(stream);
    });
    let client = Options::new().greetings(1).connect(address).await.unwrap();
    assert_eq!(client.ask("one").await.unwrap(), "ONE");
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn no_more_asks_are_in_flight_than_were_allowed() {
    let (address, thread) = server(1, |stream| {
        let mut most = 0;
        for _ in 0..4 {
            // All that is there when one more may come.
            let mut bytes = [0; 1024];
            let count = (&stream).read(&mut bytes).unwrap();
            let lines = bytes[..count].split_inclusive(|byte| *byte == b'\n').count();
            most = most.max(lines);
            (&stream).write_all("ok\n".repeat(lines).as_bytes()).unwrap();
        }
        upper(stream);
        most
    });
    let client = Options::new().in_flight_max(3).connect(address).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        tasks.spawn(async move { client.ask("are we many?").await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 40);
    drop(client);
    assert!(end(thread).await[0] <= 3);
}

#[tokio::test]
async fn a_message_that_would_be_two_is_not_sent() {
    let (address, thread) = server(1, upper);
    let client = Client::connect(address).await.unwrap();
    let error = client.ask("one\ntwo").await.unwrap_err();
    assert!(error.is_framing() && error.is_unsent(), "{error}");
    assert_eq!(client.ask("three").await.unwrap(), "THREE");
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn raw_answers_have_no_ends_so_the_asks_take_turns() {
    let (address, thread) = server(1, |stream| {
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = (&stream).read(&mut bytes) {
            (&stream).write_all(&bytes[..count]).unwrap();
        }
    });
    let client = Options::new().framing(Framing::Raw).connect(address).await.unwrap();
    let (one, two, three) = tokio::join!(client.ask("one"), client.ask("two"), client.ask("three"));
    assert_eq!([one.unwrap(), two.unwrap(), three.unwrap()], ["one", "two", "three"]);
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn the_last_client_that_goes_ends_the_connection_though_an_ask_was_given_up() {
    let (address, thread) = server(1, |stream| {
        let mut heard = String::new();
        (&stream).read_to_string(&mut heard).unwrap();
        heard
    });
    let client = Client::connect(address).await.unwrap();
    let other = client.clone();
    drop(client);
    let ask = other.ask("nobody waits for this");
    assert!(tokio::time::timeout(Duration::from_millis(20), ask).await.is_err());
    drop(other);
    let heard = end(thread).await;
    assert_eq!(heard, ["nobody waits for this\n"]);
}

#[tokio::test]
async fn an_answer_over_the_limit_ends_the_connection_with_the_reason() {
    let (address, thread) = server(1, |stream| {
        hear(&stream, 1);
        let _ = (&stream).write_all(&vec![b'x'; 100_000]);
        let _ = (&stream).read_to_end(&mut Vec::new());
    });
    let client = Options::new().max_message(1000).connect(address).await.unwrap();
    let error = client.ask("much?").await.unwrap_err();
    assert!(error.is_framing() && !error.is_unsent(), "{error}");
    drop(client);
    end(thread).await;
}

#[tokio::test]
async fn a_client_that_is_not_to_connect_again_says_so() {
    let (address, thread) = server(1, |stream| drop(hear(&stream, 1)));
    let client = Options::new().reconnect(None).connect(address).await.unwrap();
    assert!(client.ask_idempotent("one").await.unwrap_err().is_lost());
    let error = client.ask("two").await.unwrap_err();
    assert!(error.is_lost() && error.is_unsent());
    let cause = "the connection was lost, and this client does not connect again";
    assert_eq!(error.to_string(), format!("cannot ask {address}: {cause}"));
    end(thread).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_after_the_limit_of_an_ask() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = at_once().ask_timeout(Some(Duration::from_secs(7))).connect(address).await.unwrap();
    let _first = listener.accept().await.unwrap();
    let begun = tokio::time::Instant::now();
    let error = client.ask("hello?").await.unwrap_err();
    assert!(error.is_timeout() && begun.elapsed() >= Duration::from_secs(7), "{error}");
    assert_eq!(error.to_string(), format!("no answer from {address}: none within 7s"));
    // The connection is given up: who asks now gets another, though not in the very moment.
    let asks = async {
        loop {
            drop(client.ask("hello again?").await);
        }
    };
    tokio::select! {
        () = asks => {}
        second = listener.accept() => assert!(second.is_ok()),
    }
}
