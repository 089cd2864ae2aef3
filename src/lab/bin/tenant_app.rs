//! The tenant's application of the lab: writes numbered rows to `DATABASE_URL`, transfers money and
//! appends to lists, and reports each row on standard output, before it is sent and after it is
//! answered. It knows nothing of Domicile.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use domicile_lab::checker::{Event, Record};
use domicile_lab::clock::monotonic;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

#[path = "tenant_app/tls.rs"]
mod tls;
#[path = "tenant_app/work.rs"]
mod work;

use work::{Entry, Statements};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const STATEMENT_LIMIT: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Writes numbered rows to `DATABASE_URL` until SIGTERM.
#[derive(Parser)]
struct Arguments {
    /// Whose rows these are.
    #[arg(long)]
    writer: String,
    /// Text stored in each row.
    #[arg(long, default_value = "")]
    payload: String,
    /// Most rows per second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rate: u16,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[expect(clippy::disallowed_methods, reason = "this is main")]
    let url = std::env::var("DATABASE_URL");
    let outcome = match url {
        Ok(url) => run(arguments, &url),
        Err(_) => Err(
            "DATABASE_URL is not set; waiting for it is the platform's work, so this ends"
                .to_owned(),
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nobody reads it when standard error is gone, too.
            drop(writeln!(std::io::stderr(), "{message}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, url: &str) -> Result<(), String> {
    let mut config: Config = url
        .parse()
        .map_err(|_| "DATABASE_URL is no PostgreSQL URI".to_owned())?;
    config
        .connect_timeout(CONNECT_LIMIT)
        .tcp_user_timeout(STATEMENT_LIMIT)
        .application_name("tenant-app");
    let tls = MakeRustlsConnect::new(tls::config().map_err(|error| error.to_string())?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("failed to start: {error}"))?;
    runtime.block_on(async {
        let mut pace = interval(Duration::from_secs(1) / u32::from(arguments.rate));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writer = Writer::begin(arguments)?;
        let stop = terminated()?;
        let stopped = tokio::select! {
            ended = writer.write(&config, &tls, &mut pace) => ended,
            () = stop => Ok(()),
        };
        stopped?;
        writer.end()
    })
}

/// Resolves at SIGTERM or SIGINT.
fn terminated() -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| format!("failed to hear signals: {error}"));
    let mut term = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

struct Writer {
    arguments: Arguments,
    run: String,
    lines: u64,
    seq: u64,
    acknowledged: u64,
    in_flight: Option<u64>,
}

/// How an insert without an answer's row ended.
enum Miss {
    /// The server refused it.
    Failed(String),
    /// It may be stored.
    Unknown(String),
}

impl Writer {
    fn begin(arguments: Arguments) -> Result<Self, String> {
        let path = "/proc/sys/kernel/random/uuid";
        let run = std::fs::read_to_string(path)
            .map_err(|error| format!("failed to read {path}: {error}"))?;
        let mut writer = Self {
            run: run.trim().to_owned(),
            arguments,
            lines: 0,
            seq: 0,
            acknowledged: 0,
            in_flight: None,
        };
        let name = writer.arguments.writer.clone();
        writer.report(Event::Started { writer: name })?;
        Ok(writer)
    }

    /// A line on standard output. What cannot be reported is not done: the caller ends.
    fn report(&mut self, event: Event) -> Result<(), String> {
        self.lines += 1;
        let record = Record {
            run: self.run.clone(),
            n: self.lines,
            at: monotonic().map_err(|error| error.report())?,
            event,
        };
        let mut line = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&line)
            .and_then(|()| out.flush())
            .map_err(|error| format!("failed to report, so nothing more is written: {error}"))
    }

    fn end(mut self) -> Result<(), String> {
        if let Some(seq) = self.in_flight.take() {
            let why = "stopped while waiting".to_owned();
            self.report(Event::Unknown { seq, why })?;
        }
        self.report(Event::Ended)
    }

    /// Ends only when reporting fails.
    async fn write(
        &mut self,
        config: &Config,
        tls: &MakeRustlsConnect,
        pace: &mut Interval,
    ) -> Result<(), String> {
        let mut retry = interval(RETRY_PAUSE);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            retry.tick().await;
            let mut connections = JoinSet::new();
            let opened = timeout(CONNECT_LIMIT, open(config, tls, &mut connections)).await;
            let why = match opened {
                Ok(Ok((client, statements))) => {
                    self.write_rows(&client, &statements, pace).await?;
                    continue;
                }
                Ok(Err(error)) => describe(&error),
                Err(_) => "no session in time".to_owned(),
            };
            self.report(Event::Disconnected { why })?;
        }
    }

    /// Writes until a row gets no acknowledgement.
    async fn write_rows(
        &mut self,
        client: &Client,
        statements: &Statements,
        pace: &mut Interval,
    ) -> Result<(), String> {
        loop {
            pace.tick().await;
            self.seq += 1;
            let seq = self.seq;
            self.report(Event::Sent { seq })?;
            self.in_flight = Some(seq);
            let answer = timeout(STATEMENT_LIMIT, self.execute(client, statements)).await;
            self.in_flight = None;
            match answer.unwrap_or_else(|_| Err(Miss::Unknown("no answer in time".to_owned()))) {
                Ok((server, timeline)) => {
                    self.acknowledged += 1;
                    self.report(Event::Acknowledged {
                        seq,
                        server,
                        timeline,
                    })?;
                }
                Err(Miss::Failed(why)) => return self.report(Event::Failed { seq, why }),
                Err(Miss::Unknown(why)) => return self.report(Event::Unknown { seq, why }),
            }
        }
    }

    async fn execute(
        &self,
        client: &Client,
        statements: &Statements,
    ) -> Result<(String, u32), Miss> {
        let unsent = |error: domicile_lab::LabError| Miss::Unknown(error.report());
        let entry = Entry {
            run: &self.run,
            seq: self.seq,
            writer: &self.arguments.writer,
            payload: &self.arguments.payload,
            acknowledged: self.acknowledged,
            at: monotonic().map_err(unsent)?,
        };
        let answered = statements.execute(client, &entry).await;
        let row = answered.map_err(|error| miss(&error))?;
        // The row is stored; only its answer is unreadable, which must not count as refused.
        let unreadable = |error| Miss::Unknown(format!("unreadable answer: {error}"));
        let server: String = row.try_get(0).map_err(unreadable)?;
        let timeline: String = row.try_get(1).map_err(unreadable)?;
        let timeline = u32::from_str_radix(&timeline, 16)
            .map_err(|_| Miss::Unknown(format!("no timeline: {timeline}")))?;
        Ok((server, timeline))
    }
}

async fn open(
    config: &Config,
    tls: &MakeRustlsConnect,
    connections: &mut JoinSet<()>,
) -> Result<(Client, Statements), tokio_postgres::Error> {
    let (client, connection) = config.connect(tls.clone()).await?;
    connections.spawn(async move {
        // The client's next call reports why the connection ended.
        drop(connection.await);
    });
    let statements = Statements::prepare(&client).await?;
    Ok((client, statements))
}

/// An error of class 57 (the server is stopping) or a fatal one may follow a local commit.
fn miss(error: &tokio_postgres::Error) -> Miss {
    let why = describe(error);
    let refused = error.as_db_error().is_some_and(|answer| {
        answer.severity() == "ERROR" && !answer.code().code().starts_with("57")
    });
    if refused {
        Miss::Failed(why)
    } else {
        Miss::Unknown(why)
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
        |answer| format!("{}: {}", answer.code().code(), answer.message()),
    )
}
