//! The daemon's end of the control socket: bounded lines, bounded connections, and an answer in
//! bounded time.

use super::protocol::{REQUEST_BYTES_MAX, RefusalKind, Request, Response};
use replicator::event::Command;
use std::fmt::Display;
use std::fs::{self, Permissions};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Most connections at a time; the next one is told to come back.
const CONNECTIONS_MAX: usize = 32;
/// A connection that says nothing for so long is closed, so that forgotten ones do not fill the
/// places.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A client that does not read its answer for so long is given up.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Pause after a failed accept: the usual cause, no descriptors left, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Makes the control socket, readable by its owner only. A socket that a dead daemon left is
/// replaced. Must be called inside a tokio runtime.
///
/// # Errors
/// A living daemon listens there, or the directory cannot be written, or the path is too long for a
/// socket.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        let text = format!("{} is in use: another daemon serves this resource", path.display());
        return Err(io::Error::new(ErrorKind::AddrInUse, text));
    }
    // The name appears only when the mode is right: there is no moment at which others could
    // connect.
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(fresh)?;
    fs::set_permissions(fresh, Permissions::from_mode(0o600))?;
    fs::rename(fresh, path)?;
    Ok(listener)
}

/// Serves the control socket until it is dropped. `command` carries a command to the I/O thread and
/// brings its answer; its error, in words, means that the I/O thread is gone.
pub async fn serve<F, A, R, E>(listener: UnixListener, command: F)
where
    F: Fn(Command) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<R, E>> + Send,
    R: Into<Response> + Send,
    E: Display,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let text = "too many control connections; try again".to_owned();
            tokio::spawn(async move {
                let mut stream = stream;
                send(&mut stream, Response::Refused { kind: RefusalKind::State, text }).await.ok();
            });
            continue;
        };
        let command = command.clone();
        tokio::spawn(async move {
            if let Err(error) = converse(stream, command).await {
                tracing::debug!(%error, "a control connection ended");
            }
            drop(place);
        });
    }
}

async fn converse<F, A, R, E>(stream: UnixStream, command: F) -> io::Result<()>
where
    F: Fn(Command) -> A,
    A: Future<Output = Result<R, E>>,
    R: Into<Response>,
    E: Display,
{
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut stream).take(REQUEST_BYTES_MAX as u64);
        let read = timeout(IDLE_MAX, bounded.read_until(b'\n', &mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let text = format!("a request is one line of at most {REQUEST_BYTES_MAX} bytes");
            let kind = RefusalKind::Configuration;
            return send(stream.get_mut(), Response::Refused { kind, text }).await;
        }
        let response = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => answer(request, &command).await,
            Err(error) => {
                let text = format!("no request: {error}; write one JSON object per line");
                Response::Refused { kind: RefusalKind::Configuration, text }
            }
        };
        send(stream.get_mut(), response).await?;
    }
}

async fn answer<F, A, R, E>(request: Request, command: &F) -> Response
where
    F: Fn(Command) -> A,
    A: Future<Output = Result<R, E>>,
    R: Into<Response>,
    E: Display,
{
    let patience = request.patience();
    match timeout(patience, command(request.command())).await {
        Ok(Ok(answer)) => answer.into(),
        Ok(Err(error)) => {
            let text = format!("the data path is gone: {error}; look into the daemon's log");
            Response::Refused { kind: RefusalKind::NoAnswer, text }
        }
        Err(_) => {
            let text = format!(
                "the data path did not respond within {} s; is a disk hanging? \
                 The command may still be carried out: look at 'blkrep status'",
                patience.as_secs()
            );
            Response::Refused { kind: RefusalKind::NoAnswer, text }
        }
    }
}

async fn send(stream: &mut UnixStream, response: Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(&response).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(SEND_MAX, stream.write_all(&line)).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::control_socket;
    use crate::control::client::ask;
    use crate::control::status_wire::tests::sample;
    use crate::demo::scratch_dir::ScratchDir;
    use replicator::event::{Answer, Refusal, RefusalClass};
    use std::io::{BufRead, Read, Write};

    async fn engine(command: Command) -> Result<Answer, String> {
        match command {
            Command::Status => Ok(Answer::Status(Box::new(sample()))),
            Command::Primary { force: false } => Ok(Answer::Refused(Refusal {
                class: RefusalClass::NoGoodData,
                text: "no".to_owned(),
            })),
            Command::Disconnect => std::future::pending().await,
            Command::Down => Err("it stopped".to_owned()),
            Command::Connect { .. }
            | Command::Primary { force: true }
            | Command::Secondary
            | Command::Attach
            | Command::Detach { .. }
            | Command::Invalidate
            | Command::InvalidateRemote
            | Command::Outdate
            | Command::PauseSync
            | Command::ResumeSync
            | Command::SuspendIo
            | Command::ResumeIo
            | Command::NewCurrentUuid { .. }
            | Command::Resize { .. }
            | Command::Verify { .. }
            | Command::Repair { .. } => Ok(Answer::Done),
        }
    }

    /// Runs `client` on a thread beside a server.
    fn with_server<T: Send + 'static>(client: impl FnOnce(&Path) -> T + Send + 'static) -> T {
        let dir = ScratchDir::new("server");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let path = dir.path().to_owned();
        runtime.block_on(async move {
            let listener = bind(&control_socket(&path, "r0")).unwrap();
            tokio::spawn(serve(listener, engine));
            tokio::task::spawn_blocking(move || client(&path)).await.unwrap()
        })
    }

    #[test]
    fn answers_of_the_engine_reach_the_client() {
        with_server(|dir| {
            let status = ask(dir, "r0", Request::Status).unwrap();
            assert_eq!(status, Response::Status(Box::new(sample())));
            assert_eq!(ask(dir, "r0", Request::Secondary).unwrap(), Response::Done);
            let refused = ask(dir, "r0", Request::Primary { force: false }).unwrap();
            let kind = RefusalKind::NoGoodData;
            assert_eq!(refused, Response::Refused { kind, text: "no".to_owned() });
            let Response::Refused { kind, text } = ask(dir, "r0", Request::Down).unwrap() else {
                panic!("a dead engine answers nothing");
            };
            assert_eq!(kind, RefusalKind::NoAnswer);
            assert!(text.contains("it stopped"), "{text}");
        });
    }

    #[test]
    fn lines_that_are_no_request_get_an_answer_and_endless_ones_are_cut() {
        with_server(|dir| {
            let stream =
                std::os::unix::net::UnixStream::connect(control_socket(dir, "r0")).unwrap();
            let mut reader = io::BufReader::new(&stream);
            let mut line = String::new();
            (&stream).write_all(b"hello\n").unwrap();
            reader.read_line(&mut line).unwrap();
            assert!(line.contains("\"class\":\"configuration\""), "{line}");
            (&stream).write_all(&[b'x'; REQUEST_BYTES_MAX]).unwrap();
            let mut rest = String::new();
            reader.read_to_string(&mut rest).unwrap();
            assert!(rest.contains("at most 4096 bytes"), "{rest}");
        });
    }

    #[test]
    fn the_socket_is_its_owners_alone_and_a_living_one_is_not_replaced() {
        with_server(|dir| {
            let socket = control_socket(dir, "r0");
            let mode = fs::metadata(&socket).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let error = bind(&socket).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        });
    }

    #[test]
    fn a_socket_that_a_dead_daemon_left_is_replaced() {
        let dir = ScratchDir::new("server-stale");
        let socket = control_socket(dir.path(), "r0");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        drop(bind(&socket).unwrap());
    }

    #[test]
    fn an_engine_that_hangs_is_reported_after_five_seconds() {
        let start = std::time::Instant::now();
        let response = with_server(|dir| ask(dir, "r0", Request::Disconnect).unwrap());
        let Response::Refused { kind, text } = response else { panic!("{response:?}") };
        assert_eq!(kind, RefusalKind::NoAnswer);
        assert!(text.contains("did not respond within 5 s"), "{text}");
        assert!(start.elapsed() >= Duration::from_secs(5));
    }
}
