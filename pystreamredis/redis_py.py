"""Keywords of redis-py's constructors that are not options here, and what to use instead.

Followed as streams, they would be ignored without a word: a TLS setting, for example.
"""

from __future__ import annotations

_CONTEXT = "give ssl= an ssl.SSLContext that has it"
_RETRY = "raise_connection_exceptions=False returns failures, and each next() tries again"
_CLUSTER = "one node as host and port is enough, a cluster is found out by itself"
_POOL = "each Streams has connections of its own, at most connections="
_SENTINEL = "give host= a callable that asks the Sentinel at each connect"
_KEEPALIVE = "only socket_keepalive= is there"
_NAME = "only client_name= is there"
_NOTHING = "nothing here is like it, leave it out"

ADVICE = {
    "ssl_ca_data": _CONTEXT,
    "ssl_ca_path": _CONTEXT,
    "ssl_cert_reqs": _CONTEXT,
    "ssl_ciphers": _CONTEXT,
    "ssl_exclude_verify_flags": _CONTEXT,
    "ssl_include_verify_flags": _CONTEXT,
    "ssl_min_version": _CONTEXT,
    "ssl_ocsp_context": _CONTEXT,
    "ssl_ocsp_expected_cert": _CONTEXT,
    "ssl_password": _CONTEXT,
    "ssl_validate_ocsp": _CONTEXT,
    "ssl_validate_ocsp_stapled": _CONTEXT,
    "retry": _RETRY,
    "retry_on_error": _RETRY,
    "retry_on_timeout": _RETRY,
    "cluster_error_retry_attempts": _RETRY,
    "connection_error_retry_attempts": _RETRY,
    "health_check_interval": "socket_timeout= finds out a silent server without checks",
    "credential_provider": "give password= a callable, which is asked at each connect",
    "charset": "give encoding=",
    "errors": "give encoding_errors=",
    "path": "give unix_socket_path=",
    "address_remap": _CLUSTER,
    "dynamic_startup_nodes": _CLUSTER,
    "load_balancing_strategy": _CLUSTER,
    "read_from_replicas": _CLUSTER,
    "reinitialize_steps": _CLUSTER,
    "require_full_coverage": _CLUSTER,
    "startup_nodes": _CLUSTER,
    "auto_close_connection_pool": _POOL,
    "cache_factory": _POOL,
    "connection_class": _POOL,
    "connection_pool": _POOL,
    "max_connections": _POOL,
    "queue_class": _POOL,
    "single_connection_client": _POOL,
    "timeout": _POOL,
    "check_connection": _SENTINEL,
    "force_master_ip": _SENTINEL,
    "is_master": _SENTINEL,
    "min_other_sentinels": _SENTINEL,
    "sentinel_kwargs": _SENTINEL,
    "sentinel_manager": _SENTINEL,
    "sentinels": _SENTINEL,
    "service_name": _SENTINEL,
    "socket_keepalive_options": _KEEPALIVE,
    "socket_type": _KEEPALIVE,
    "driver_info": _NAME,
    "lib_name": _NAME,
    "lib_version": _NAME,
    "cache": _NOTHING,
    "cache_config": _NOTHING,
    "command_packer": _NOTHING,
    "encoder_class": _NOTHING,
    "event_dispatcher": _NOTHING,
    "himport_registry": _NOTHING,
    "legacy_responses": _NOTHING,
    "maint_notifications_config": _NOTHING,
    "maint_notifications_pool_handler": _NOTHING,
    "maintenance_notification_hash": _NOTHING,
    "maintenance_state": _NOTHING,
    "orig_host_address": _NOTHING,
    "orig_socket_connect_timeout": _NOTHING,
    "orig_socket_timeout": _NOTHING,
    "oss_cluster_maint_notifications_handler": _NOTHING,
    "parser_class": _NOTHING,
    "policy_resolver": _NOTHING,
    "redis_connect_func": _NOTHING,
    "socket_read_size": _NOTHING,
}
"""Keywords, and what to do instead of giving them."""
