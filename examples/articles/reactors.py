"""What follows the events. Each line is a view of its own, with a checkpoint of its own.

To rebuild one while it is read, build another beside it:

    articles_2 = ranking("articles-2")
"""

from ranking import ranking
from search import index

articles_1 = ranking("articles-1")
search_1 = index("search-1")
