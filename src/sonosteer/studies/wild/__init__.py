"""The study `in-the-wild`: does a tracker find the needle in pictures from any scanner, with nothing given?"""
