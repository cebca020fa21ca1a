import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.ChangeEventFormat;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Executors;

/**
 * Debezium's embedded engine into nothing: says "started" when the connector's task has started, and "done" when it has
 * handed over so many rows.
 *
 * Arguments: a properties file, "json" or "connect" (Java objects: nothing is converted), and the number of rows.
 */
public final class CountingEngine {
    private static long left;

    private CountingEngine() {}

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (FileReader file = new FileReader(arguments[0])) {
            properties.load(file);
        }
        left = Long.parseLong(arguments[2]);
        DebeziumEngine<?> engine = arguments[1].equals("json")
                ? built(DebeziumEngine.create(Json.class), properties)
                : built(DebeziumEngine.create(ChangeEventFormat.of(Connect.class)), properties);
        Executors.newSingleThreadExecutor().execute(engine);
    }

    private static <R> DebeziumEngine<R> built(DebeziumEngine.Builder<R> builder, Properties properties) {
        return builder.using(properties)
                .using(new DebeziumEngine.ConnectorCallback() {
                    @Override
                    public void taskStarted() {
                        say("started");
                    }
                })
                .using((succeeded, message, error) -> {
                    if (!succeeded) {
                        say("failed " + message);
                        System.exit(1);
                    }
                })
                .notifying(CountingEngine::count)
                .build();
    }

    private static <R> void count(List<R> records, DebeziumEngine.RecordCommitter<R> committer)
            throws InterruptedException {
        for (R record : records) {
            committer.markProcessed(record);
        }
        committer.markBatchFinished();
        left -= records.size();
        if (left <= 0) {
            say("done");
        }
    }

    private static void say(String what) {
        System.out.println(what);
        System.out.flush();
    }
}
