// Command go logs in with DATABASE_URL by the driver that it is told (pgx or pq), and verifies the
// server against DATABASE_CA where that is given.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"
)

const query = "SELECT session_user, current_database()"

// setting is a file in DATABASE_FOLDER if that is set, else a variable.
func setting(name string) string {
	folder, ok := os.LookupEnv("DATABASE_FOLDER")
	if !ok {
		return os.Getenv(name)
	}
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return ""
	}
	return string(text)
}

type row interface{ Scan(...any) error }

func tell(row row) error {
	var login, database string
	if err := row.Scan(&login, &database); err != nil {
		return err
	}
	fmt.Println(login, database)
	return nil
}

func pool(ca string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("DATABASE_CA is no certificate")
	}
	return pool, nil
}

func byPgx(ctx context.Context, uri, ca string) error {
	config, err := pgx.ParseConfig(uri)
	if err != nil {
		return err
	}
	if ca != "" {
		if config.TLSConfig.RootCAs, err = pool(ca); err != nil {
			return err
		}
	}
	connection, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	return tell(connection.QueryRow(ctx, query))
}

func byPq(ctx context.Context, uri, ca string) error {
	config, err := pq.NewConfig(uri)
	if err != nil {
		return err
	}
	if ca != "" {
		roots, err := pool(ca)
		if err != nil {
			return err
		}
		if err := pq.RegisterTLSConfig("acme", &tls.Config{RootCAs: roots}); err != nil {
			return err
		}
		config.SSLMode = "pqgo-acme"
	}
	connector, err := pq.NewConnectorConfig(config)
	if err != nil {
		return err
	}
	database := sql.OpenDB(connector)
	defer database.Close()
	return tell(database.QueryRowContext(ctx, query))
}

func main() {
	drivers := map[string]func(context.Context, string, string) error{"pgx": byPgx, "pq": byPq}
	err := drivers[os.Args[1]](context.Background(), setting("DATABASE_URL"), setting("DATABASE_CA"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
