"""Arbitrage: what could really be bought here and sold there at a profit, live and in hindsight."""
