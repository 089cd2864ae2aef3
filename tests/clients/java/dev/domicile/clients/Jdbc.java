package dev.domicile.clients;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.sql.SQLException;

/** Logs in by pgjdbc: with the setting that it is told, and JDBC_USER, JDBC_PASSWORD if given. */
public final class Jdbc {
    static final String QUERY = "SELECT session_user || ' ' || current_database()";

    private Jdbc() {}

    /** The setting of this name: a file in DATABASE_FOLDER if that is set, else a variable. */
    private static String setting(String name) throws IOException {
        String folder = System.getenv("DATABASE_FOLDER");
        if (folder == null) {
            return System.getenv(name);
        }
        Path file = Path.of(folder, name);
        return Files.exists(file) ? Files.readString(file) : null;
    }

    public static void main(String[] args) throws IOException {
        String url = setting(args[0]);
        String user = setting("JDBC_USER");
        try (var connection =
                        user == null
                                ? DriverManager.getConnection(url)
                                : DriverManager.getConnection(url, user, setting("JDBC_PASSWORD"));
                var result = connection.createStatement().executeQuery(QUERY)) {
            result.next();
            System.out.println(result.getString(1));
        } catch (SQLException error) {
            System.err.println(Causes.of(error));
            System.exit(1);
        }
    }
}
