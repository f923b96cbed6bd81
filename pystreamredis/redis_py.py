"""Keywords of redis-py's constructors that are not options here, and what to use instead.

Followed as streams, they would be ignored without a word: a TLS setting, for example.
"""

from __future__ import annotations

ADVICE = {
    name: advice
    for advice, names in {
        "give ssl= an ssl.SSLContext that has it": (
            "ssl_ca_data ssl_ca_path ssl_cert_reqs ssl_ciphers ssl_exclude_verify_flags "
            "ssl_include_verify_flags ssl_min_version ssl_ocsp_context ssl_ocsp_expected_cert "
            "ssl_password ssl_validate_ocsp ssl_validate_ocsp_stapled"
        ),
        "raise_connection_exceptions=False returns failures, and each next() tries again": (
            "retry retry_on_error retry_on_timeout cluster_error_retry_attempts "
            "connection_error_retry_attempts"
        ),
        "socket_timeout= finds out a silent server without checks": "health_check_interval",
        "give password= a callable, which may return a tuple of user name and password": (
            "credential_provider"
        ),
        "give encoding=": "charset",
        "give encoding_errors=": "errors",
        "give unix_socket_path=": "path",
        "one node as host and port is enough, a cluster is found out by itself": (
            "dynamic_startup_nodes load_balancing_strategy read_from_replicas "
            "reinitialize_steps require_full_coverage startup_nodes"
        ),
        "each Streams has connections of its own, at most connections=": (
            "auto_close_connection_pool cache_factory connection_class connection_pool "
            "max_connections queue_class single_connection_client timeout"
        ),
        "give host= a callable that asks the Sentinel at each connect": (
            "check_connection force_master_ip is_master min_other_sentinels sentinel_kwargs "
            "sentinel_manager sentinels service_name"
        ),
        "only socket_keepalive= is there": "socket_keepalive_options socket_type",
        "only client_name= is there": "driver_info lib_name lib_version",
        "nothing here is like it, leave it out": (
            "cache cache_config command_packer encoder_class event_dispatcher himport_registry "
            "legacy_responses maint_notifications_config maint_notifications_pool_handler "
            "maintenance_notification_hash maintenance_state orig_host_address "
            "orig_socket_connect_timeout orig_socket_timeout "
            "oss_cluster_maint_notifications_handler parser_class policy_resolver "
            "redis_connect_func socket_read_size"
        ),
    }.items()
    for name in names.split()
}
"""Keywords, and what to do instead of giving them."""
