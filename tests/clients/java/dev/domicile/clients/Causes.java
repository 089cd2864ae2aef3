package dev.domicile.clients;

/** What an error says, and what caused it. */
final class Causes {
    private Causes() {}

    static String of(Throwable error) {
        var text = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            text.append(cause).append('\n');
        }
        return text.toString();
    }
}
