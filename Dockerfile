# walferry in a container. Which packages are needed stands in one place each: those to build in scripts/lib/deps.sh, those to
# run in the Debian package, whose dependencies are read from the program.
#
#   docker build -t walferry .
#   docker run --read-only -v /etc/walferry:/etc/walferry:ro walferry relay /etc/walferry/shop.yaml

FROM debian:bookworm-slim AS builder
# By themselves first: they change less often than the sources.
COPY scripts/lib /src/scripts/lib
RUN bash -c '. /src/scripts/lib/common.sh && . /src/scripts/lib/deps.sh && deps_install build'
COPY . /src
RUN /src/scripts/package /out && mv /out/walferry_*.deb /out/walferry.deb

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="walferry" \
      org.opencontainers.image.description="carry a Postgres outbox to Kafka, exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /out/walferry.deb /tmp/walferry.deb
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates /tmp/walferry.deb \
 && rm -rf /var/lib/apt/lists/* /tmp/walferry.deb
# By number, so that a cluster can see that it is not root. It writes nothing: the root file system may be read-only.
USER 65532:65532
WORKDIR /etc/walferry
ENTRYPOINT ["/usr/bin/walferry"]
CMD ["--help"]
# No HEALTHCHECK: which state counts as healthy (a standby is alive, and not ready) is for whoever runs it to say.
