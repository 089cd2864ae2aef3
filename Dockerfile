# The operator's image, for a cluster that is not the lab's. The lab packs its own image from
# the local build and needs no Docker.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release -p domicile-operator --bin domicile

FROM debian:12-slim
LABEL org.opencontainers.image.title="domicile" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/domicile /usr/local/bin/domicile
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/domicile"]
CMD ["run"]
