"""Tests of pystreamredis."""
