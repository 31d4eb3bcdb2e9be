"""`dengar serve`: the speech server."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli import edge_options, output, store_options


def serve(
    *,
    bundle: Annotated[
        str | None,
        typer.Option(envvar="DENGAR_BUNDLE", help="Folder, hash or alias of a bundle; the shipped one if none."),
    ] = None,
    host: Annotated[str, typer.Option(envvar="DENGAR_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="DENGAR_PORT", help="Port; 0 picks a free one.")] = 50051,
    threads: Annotated[
        int | None, typer.Option(envvar="DENGAR_THREADS", help="Worker threads; one per core if not given.")
    ] = None,
    engine: Annotated[
        str, typer.Option(envvar="DENGAR_ENGINE", help="onnx: the int8 model; torch: its float weights, the reference.")
    ] = "onnx",
    max_batch: Annotated[
        int, typer.Option(envvar="DENGAR_MAX_BATCH", help="Streams that a worker takes in one turn.")
    ] = 16,
    batch_wait_ms: Annotated[
        float, typer.Option(envvar="DENGAR_BATCH_WAIT_MS", help="How long it waits for more of them.")
    ] = 0.0,
    max_streams: Annotated[
        int, typer.Option(envvar="DENGAR_MAX_STREAMS", help="Calls at once; one more is refused.")
    ] = 64,
    registry: Annotated[
        str,
        typer.Option(
            envvar="DENGAR_REGISTRY", help="Folder of bundles whose alias live is followed; see dengar models."
        ),
    ] = "",
    state: Annotated[
        str, typer.Option(envvar="DENGAR_STATE", help="Folder for what the server keeps: stored phrase sets.")
    ] = "work/server",
    max_audio_s: Annotated[
        float, typer.Option(envvar="DENGAR_MAX_AUDIO_S", help="Seconds of audio in one call.")
    ] = 300.0,
    idle_timeout_s: Annotated[
        float, typer.Option(envvar="DENGAR_IDLE_TIMEOUT_S", help="Seconds a stream may send nothing.")
    ] = 20.0,
    interim_interval_ms: Annotated[
        float, typer.Option(envvar="DENGAR_INTERIM_INTERVAL_MS", help="Interim results come at most this often.")
    ] = 100.0,
    endpoint_silence_s: Annotated[
        float | None,
        typer.Option(
            envvar="DENGAR_ENDPOINT_SILENCE_S",
            help="Silence that ends a single utterance, whatever the words; default: by how complete they sound.",
        ),
    ] = None,
    drain_s: Annotated[
        float, typer.Option(envvar="DENGAR_DRAIN_S", help="Seconds running calls may go on after SIGTERM.")
    ] = 30.0,
    store: store_options.Store = None,
    store_audio: store_options.StoreAudio = None,
    store_key_file: store_options.StoreKeyFile = None,
    store_encryption_keys: store_options.StoreEncryptionKeys = None,
    live_names: store_options.LiveNames = 500,
    live_names_boost: store_options.LiveNamesBoost = 3.0,
    tls_certificate: edge_options.TlsCertificate = None,
    tls_key: edge_options.TlsKey = None,
    tls_client_ca: edge_options.TlsClientCa = None,
    allow_plaintext: edge_options.AllowPlaintext = False,
    keys: edge_options.Keys = None,
    closed_reflection: edge_options.ClosedReflection = False,
    failed_keys_per_minute: edge_options.FailedKeysPerMinute = 10,
    streams_per_client: edge_options.StreamsPerClient = None,
    metrics_port: edge_options.MetricsPort = None,
    metrics_host: edge_options.MetricsHost = "127.0.0.1",
    traces: edge_options.Traces = None,
    trace_ratio: edge_options.TraceRatio = 1.0,
    log_format: edge_options.LogFormat = "text",
    log_level: edge_options.LogLevel = "info",
    verbose: Annotated[bool, typer.Option("--verbose", help="The same as --log-level debug.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the ready line as JSON.")] = False,
) -> None:
    """Serve `dengar.v1.Speech` over gRPC until SIGTERM or Ctrl-C.

    Prints one line once it accepts calls. When told to stop it refuses new calls, lets running streams finish and
    exits with 0. Plain text is for this machine alone: another --host wants --tls-certificate and --tls-key, or
    --allow-plaintext.

    With --store, queries whose callers say so (consent) are kept, with their feedback, and names that are approved
    there (`dengar names`) are recognised at once.

    Example: dengar serve --port 50051 --max-streams 100

    Example: dengar serve --store sqlite:///work/store/dengar.db
    """
    import asyncio
    import os

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's C core logs to stderr; what matters is raised
    keep_numpy_to_one_thread()
    from asr.endpoint import EndpointConfig
    from asr.recognize import Recognizer
    from services.logs import Logs, log_config
    from services.recognizer.config import server_config
    from services.recognizer.edge import Edge, edge_config
    from services.recognizer.server import Server
    from services.recognizer.server import serve as serve_until_told
    from services.recognizer.tls import check_transport
    from services.registry import Registry

    chosen_threads = {} if threads is None else {"threads": threads}
    config = server_config(
        bundle=bundle,
        registry=registry,
        state=state,
        host=host,
        port=port,
        engine=engine,
        max_batch=max_batch,
        batch_wait_ms=batch_wait_ms,
        max_streams=max_streams,
        max_audio_s=max_audio_s,
        idle_timeout_s=idle_timeout_s,
        call_timeout_s=max(600.0, 2 * max_audio_s),
        interim_interval_ms=interim_interval_ms,
        endpoint=EndpointConfig().with_request(silence_s=endpoint_silence_s),
        store=store_options.store_of(
            store, audio=store_audio, key_file=store_key_file, encryption_keys=store_encryption_keys
        ),
        names={"most": live_names, "boost": live_names_boost},
        drain_s=drain_s,
        **chosen_threads,
    )
    around = edge_config(
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        allow_plaintext=allow_plaintext,
        keys=keys,
        closed_reflection=closed_reflection,
        failed_keys_per_minute=failed_keys_per_minute,
        streams_per_client=streams_per_client,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        traces=traces,
        trace_ratio=trace_ratio,
    )
    check_transport(config.host, around.tls, allow_plaintext=allow_plaintext)  # before a bundle is loaded

    def load(name: str) -> Recognizer:
        return Recognizer.open(name or None, engine=config.engine)

    name = config.bundle or ""
    if config.registry and not name:
        followed = Registry(config.registry)
        name = str(followed.path(followed.live()))
    recognizer = load(name)
    recognizer.warm()

    def ready(chosen: int) -> None:
        if json:
            line = {"event": "ready", "host": config.host, "port": chosen, "bundle": recognizer.bundle_hash}
            output.emit_json({**line, "metrics_port": edge.metrics_port})
        else:
            output.console.print(
                f"dengar serves {config.host}:{chosen} with bundle {recognizer.bundle_hash}",
                highlight=False,
                soft_wrap=True,
            )

    async def run() -> None:
        logs.watch(asyncio.get_running_loop())
        await serve_until_told(Server(recognizer, config, load, name=name, edge=edge), ready)

    with Logs(log_config(format=log_format, level="debug" if verbose else log_level)) as logs:
        edge = Edge(around, config.host, lambda: logs.dropped)
        asyncio.run(run())


def keep_numpy_to_one_thread() -> None:
    """Keeps NumPy's matrix library from threads of its own, which wait in a loop for work.

    The workers are the threads; OpenBLAS's helper took a fifth of the server's processor time for a hundredth of its
    work. Must come before NumPy is imported; a number that the environment gives stays.
    """
    import os

    for library in ("OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
