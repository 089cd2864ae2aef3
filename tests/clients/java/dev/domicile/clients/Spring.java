package dev.domicile.clients;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.jdbc.core.JdbcTemplate;

/** Logs in by what Spring Boot finds in its environment: no line of this is about the database. */
@EnableAutoConfiguration
public class Spring {
    public static void main(String[] args) {
        try (var context = SpringApplication.run(Spring.class, args)) {
            var template = context.getBean(JdbcTemplate.class);
            System.out.println(template.queryForObject(Jdbc.QUERY, String.class));
        } catch (RuntimeException error) {
            System.err.println(Causes.of(error));
            System.exit(1);
        }
    }
}
