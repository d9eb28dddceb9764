//! What the tests share.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use landline::event::Recorder;
use landline::{DrainReport, Event, Handler, Running, Server, Serving, Subscriber};

/// How long a test waits for what must come, before it calls it missing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A caller with blocking calls, as in the tutorials.
#[derive(Debug)]
pub(crate) struct Caller(pub(crate) TcpStream);

impl Caller {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn hear(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(expected));
    }

    pub(crate) fn half_close(&mut self) {
        self.0.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Reads to the end; a reset is an error.
    pub(crate) fn hear_out(&mut self) -> std::io::Result<String> {
        let mut heard = String::new();
        self.0.read_to_string(&mut heard).map(|_| heard)
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A server that runs, what it says, and a runtime to drain it from.
pub(crate) struct Served {
    pub(crate) running: Option<Running>,
    pub(crate) events: Arc<Recorder>,
    happened: Receiver<Event>,
    runtime: tokio::runtime::Runtime,
}

/// Records events, and passes them on to whoever waits for one.
struct Relay(Arc<Recorder>, SyncSender<Event>);

impl Subscriber for Relay {
    fn event(&self, event: &Event) {
        self.0.event(event);
        // A test that waits for nothing lets the channel fill.
        let _ = self.1.try_send(event.clone());
    }
}

/// Serves on a free port, with the settings given.
pub(crate) fn serve<H: Handler>(settings: impl FnOnce(Server) -> Server, handler: H) -> Served {
    Served::start(settings(Server::bind("127.0.0.1:0").unwrap()), |server| server.serve(handler))
}

impl Served {
    /// Serves as told, with its events recorded.
    pub(crate) fn start(server: Server, serving: impl FnOnce(Server) -> Serving) -> Self {
        let events = Arc::new(Recorder::default());
        let (happens, happened) = sync_channel(100_000);
        let running = Some(serving(server.events(Relay(Arc::clone(&events), happens))).start().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { running, events, happened, runtime }
    }

    /// Puts another server in its place.
    pub(crate) fn reload(&self, anew: Serving) -> Result<(), landline::Error> {
        self.runtime.block_on(self.running().reload(anew))
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn call(&self) -> Caller {
        Caller::connect(self.running().local_addr())
    }

    /// Waits for an event; those before it are passed over.
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.happened.recv_timeout(PATIENCE).expect("the event comes");
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for the next close, and returns its event.
    pub(crate) fn wait_for_close(&self) -> Event {
        self.wait_for(|event| matches!(event, Event::Closed { .. }))
    }

    /// Starts a drain on another thread, and returns how to get its report.
    pub(crate) fn drain(self) -> (JoinHandle<DrainReport>, Receiver<Event>) {
        let (draining, happened) = self.drain_or(std::future::pending());
        (std::thread::spawn(|| draining.join().unwrap().expect("nobody gave up")), happened)
    }

    /// The same, given up when `enough` completes.
    pub(crate) fn drain_or(
        mut self,
        enough: impl Future<Output = ()> + Send + 'static,
    ) -> (JoinHandle<Option<DrainReport>>, Receiver<Event>) {
        let running = self.running.take().unwrap();
        let runtime = self.runtime;
        let draining = async {
            tokio::select! {
                report = running.drain() => Some(report),
                () = enough => None,
            }
        };
        (std::thread::spawn(move || runtime.block_on(draining)), self.happened)
    }
}
