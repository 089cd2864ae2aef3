/* Logs in with DATABASE_URL, or with libpq's own variables (PGHOST and so on) without one. */

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The setting of this name: a file in DATABASE_FOLDER if that is set, else a variable. */
static char *setting(const char *name)
{
    static char text[8192];
    char path[4096];
    const char *folder = getenv("DATABASE_FOLDER");
    if (folder == NULL)
        return getenv(name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    int own = argc > 1 && strcmp(argv[1], "variables") == 0;
    const char *url = own ? "" : setting("DATABASE_URL");
    if (url == NULL) {
        fprintf(stderr, "DATABASE_URL is not set\n");
        return 2;
    }
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK) {
        fprintf(stderr, "%s", PQerrorMessage(connection));
        return 1;
    }
    PGresult *result = PQexec(connection, "SELECT session_user, current_database()");
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s", PQerrorMessage(connection));
        return 1;
    }
    printf("%s %s\n", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    PQclear(result);
    PQfinish(connection);
    return 0;
}
