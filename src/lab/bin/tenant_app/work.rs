//! The statements of the work: each leaves a row, some change accounts or lists beside it.

use domicile_lab::checker::{ACCOUNTS, LIST_SPAN, OPENING_BALANCE, Work, item};
use tokio_postgres::{Client, Error, Row, Statement};

const CREATE: &str = "CREATE TABLE IF NOT EXISTS lab_rows (
        run text, seq bigint, writer text NOT NULL, payload text NOT NULL,
        acknowledged bigint NOT NULL, PRIMARY KEY (run, seq));
    CREATE TABLE IF NOT EXISTS lab_accounts (account bigint PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE IF NOT EXISTS lab_lists (list bigint PRIMARY KEY, items text[] NOT NULL);";

/// The row itself; its parameters are the first five of every statement.
const ROW: &str = "WITH noted AS (
    INSERT INTO lab_rows (run, seq, writer, payload, acknowledged)
    VALUES ($1, $2, $3, $4, $5) RETURNING seq)";
const TRANSFER: &str = ", moved AS (
    UPDATE lab_accounts
    SET balance = balance + CASE account WHEN $6 THEN -$8::bigint ELSE $8::bigint END
    WHERE account IN ($6, $7) RETURNING account)";
const APPEND: &str = ", appended AS (
    INSERT INTO lab_lists AS there (list, items) VALUES ($6, ARRAY[$7::text])
    ON CONFLICT (list) DO UPDATE SET items = there.items || EXCLUDED.items RETURNING list)";
/// The server says itself who it is: its address, and the timeline that it writes.
const ANSWER: &str = " SELECT pg_catalog.host(pg_catalog.inet_server_addr()),
    substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) FROM noted";

/// The statements, prepared in one session.
pub(crate) struct Statements {
    register: Statement,
    transfer: Statement,
    append: Statement,
}

/// What every piece of work writes into its row.
pub(crate) struct Entry<'a> {
    pub(crate) run: &'a str,
    pub(crate) seq: u64,
    pub(crate) writer: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) acknowledged: u64,
    /// When it is sent, in monotonic nanoseconds.
    pub(crate) at: u64,
}

impl Statements {
    /// Makes the tables where they are not there, and prepares.
    pub(crate) async fn prepare(client: &Client) -> Result<Self, Error> {
        let open = format!(
            "INSERT INTO lab_accounts SELECT account, {OPENING_BALANCE}
             FROM generate_series(0, {}) account ON CONFLICT DO NOTHING",
            ACCOUNTS - 1
        );
        client.batch_execute(&format!("{CREATE} {open}")).await?;
        let with = |work: &str| format!("{ROW}{work}{ANSWER}");
        let (register, transfer, append) = (with(""), with(TRANSFER), with(APPEND));
        Ok(Self {
            register: client.prepare(&register).await?,
            transfer: client.prepare(&transfer).await?,
            append: client.prepare(&append).await?,
        })
    }

    /// Does the work of a row; returns the server's address and timeline.
    pub(crate) async fn execute(&self, client: &Client, entry: &Entry<'_>) -> Result<Row, Error> {
        let Entry {
            run,
            seq,
            writer,
            payload,
            acknowledged,
            at,
        } = entry;
        let (number, known) = (*seq as i64, *acknowledged as i64);
        let statement = match Work::of(*seq) {
            Work::Register => &self.register,
            Work::Transfer { from, to, amount } => {
                let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
                    [run, &number, writer, payload, &known, &from, &to, &amount];
                return client.query_one(&self.transfer, &parameters).await;
            }
            Work::Append => {
                let (list, item) = ((at / LIST_SPAN) as i64, item(run, *seq));
                let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                    [run, &number, writer, payload, &known, &list, &item];
                return client.query_one(&self.append, &parameters).await;
            }
        };
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [run, &number, writer, payload, &known];
        client.query_one(statement, &parameters).await
    }
}
