// Logs in with DATABASE_URL, and verifies the server against DATABASE_CA where that is given.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { Client } = require('pg');

// The setting of this name: a file in DATABASE_FOLDER if that is set, else a variable.
function setting(name) {
  const folder = process.env.DATABASE_FOLDER;
  if (folder === undefined) return process.env[name];
  const file = path.join(folder, name);
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined;
}

async function main() {
  const config = { connectionString: setting('DATABASE_URL') };
  const ca = setting('DATABASE_CA');
  if (ca !== undefined) config.ssl = { ca };
  const client = new Client(config);
  await client.connect();
  const sql = 'SELECT session_user AS login, current_database() AS database';
  const { login, database } = (await client.query(sql)).rows[0];
  console.log(login, database);
  await client.end();
}

main().catch((error) => {
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
});
